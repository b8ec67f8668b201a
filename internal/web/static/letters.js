// Decisions on dead letters: one on its page, many on their list. All of them go
// through the API, as any other client's would.
(() => {
  "use strict";
  const { $, all, body } = patchbay;
  const most = 100;   // letters that one request decides on
  const paced = 20;   // letters a second

  // decide sends a decision on letters and gives what became of each.
  async function decide(what, body) {
    const answer = await fetch(`/v1/dead/${what}`, { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body), headers: { "Content-Type": "application/json" } });
    const got = await answer.json();
    if (!answer.ok) throw new Error(got.detail || "Patchbay did not take it");
    return got.results;
  }

  // letter is the page of one dead letter.
  function letter(box) {
    const id = box.dataset.letter, said = $("[data-decided]", box);
    async function one(what, body, button) {
      said.textContent = "";
      button.disabled = true;
      try {
        const [got] = await decide(what, body);
        if (got.outcome === "refused") throw new Error(got.detail);
        location.assign(got.redrive ? `/runs/${got.redrive.into}` : "/dead");
      } catch (error) {
        button.disabled = false;
        said.textContent = `${error.message.replace(/\.?$/, ".")}`;
        button.focus();
      }
    }
    $("[data-redrive]", box).addEventListener("click", event => one("redrive", { runs: [id] }, event.currentTarget));
    $("[data-edit]", box).addEventListener("submit", event => {
      event.preventDefault(); // numbers stay as they were typed, so the body is put together from texts
      one("redrive", `{"runs":[${JSON.stringify(id)}],"current":true,"set":${body(event.target)}}`, $("[type=submit]", event.target));
    });
    $("[data-dismiss]", box)?.addEventListener("submit", event => {
      event.preventDefault();
      const reason = event.target.elements.reason;
      if (!reason.value.trim()) { said.textContent = "Give a reason: whoever finds it later wants to know."; reason.focus(); return; }
      one("dismiss", { runs: [id], reason: reason.value }, $("[type=submit]", event.target));
    });
  }

  // ask puts a question before many letters are decided on; null is no.
  function ask(title, text, yes, reasoned) {
    const box = $("[data-asking]"), reason = $("#asking-reason");
    $("[data-asking-title]", box).textContent = title;
    $("[data-asking-text]", box).textContent = text;
    $("[data-asking-yes]", box).textContent = yes;
    $("[data-asking-field]", box).hidden = !reasoned;
    reason.value = "";
    return new Promise(done => {
      const end = answer => { box.close(); done(answer); };
      $("[data-asking-yes]", box).onclick = () => {
        if (reasoned && !reason.value.trim()) return reason.focus();
        end(reason.value.trim());
      };
      $("[data-asking-no]", box).onclick = () => end(null);
      box.oncancel = () => done(null);
      reason.onkeydown = event => { if (event.key === "Enter") { event.preventDefault(); $("[data-asking-yes]", box).click(); } };
      box.showModal();
    });
  }

  // bulk decides on many letters of a list.
  function bulk(box) {
    const rows = $("[data-part=rows]", box);
    const bar = $("[data-bulk-bar]", box);
    if (!bar) return;
    const every = $("[data-pick-all]", bar), said = $("[data-bulk-said]", bar);
    const picked = () => all("[data-pick]:checked", rows).map(pick => pick.value);
    const plural = n => `${n} dead letter${n === 1 ? "" : "s"}`;
    let going = false;
    const arrange = () => {
      const n = picked().length, there = all("[data-pick]", rows).length;
      bar.hidden = !there && !said.textContent;
      every.checked = n > 0 && n === there;
      every.indeterminate = n > 0 && n < there;
      $("[data-picked]", bar).textContent = n ? `${n} chosen` : "Choose";
      for (const name of ["redrive", "dismiss"]) $(`[data-${name}-picked]`, bar).disabled = !n || going;
      $("[data-redrive-all]", bar).disabled = !there || going;
    };
    every.addEventListener("change", () => { for (const pick of all("[data-pick]", rows)) pick.checked = every.checked; arrange(); });
    rows.addEventListener("change", arrange);
    box.addEventListener("settled", arrange);

    // carry decides on letters at a pace, those that have to wait again later.
    async function carry(ids, what, more) {
      going = true;
      let done = 0;
      const refused = [];
      try {
        for (let todo = ids; todo.length;) {
          const part = todo.slice(0, what === "dismiss" ? most : paced), began = performance.now();
          todo = todo.slice(part.length);
          let wait = what === "dismiss" ? 0 : 1000;
          for (const got of await decide(what, { runs: part, ...more })) {
            if (got.retry && ids.length > 1) { todo.push(got.run_id); wait = 2000; continue; }
            if (got.outcome === "refused") refused.push(got); else done++;
          }
          said.textContent = todo.length ? `${done} of ${ids.length} ${what === "dismiss" ? "dismissed" : "redriven"}…` : "";
          arrange();
          if (todo.length) await new Promise(next => setTimeout(next, wait - (performance.now() - began)));
        }
        const word = what === "dismiss" ? "dismissed" : "redriven";
        said.textContent = `${plural(done)} ${word}` + (refused.length ? `; ${refused.length} not: ${refused[0].detail}` : ".");
      } catch (error) {
        said.textContent = `${done} done, then: ${error.message}.`;
      }
      going = false;
      for (const pick of all("[data-pick]:checked", rows)) pick.checked = false;
      arrange();
      box.anew();
    }
    $("[data-redrive-picked]", bar).addEventListener("click", () => carry(picked(), "redrive"));
    $("[data-dismiss-picked]", bar).addEventListener("click", async () => {
      const ids = picked(), reason = await ask(`Dismiss ${plural(ids.length)}`, "Nothing more has to be done about them. They stay to be found, with your reason.", "Dismiss", true);
      if (reason !== null) carry(ids, "dismiss", { reason });
    });
    $("[data-redrive-all]", bar).addEventListener("click", async () => {
      const query = new URLSearchParams(location.search), ids = [];
      query.delete("before");
      query.set("order", "oldest");
      query.set("limit", "200");
      try {
        for (let next = "-"; next && ids.length < 10000;) {
          const answer = await fetch(`/v1/dead?${query}`), page = await answer.json();
          if (!answer.ok) throw new Error(page.detail);
          ids.push(...page.letters.map(l => l.run_id));
          next = page.next;
          query.set("before", next);
        }
      } catch (error) { said.textContent = `They cannot be listed: ${error.message}.`; arrange(); return; }
      const sure = await ask(`Redrive ${plural(ids.length)}`, `Each goes on as it was, the oldest first, ${paced} a second, behind what people wait for. What is written is not written again.`, "Redrive");
      if (sure !== null) carry(ids, "redrive");
    });
    arrange();
  }

  for (const box of all("[data-letter]")) letter(box);
  for (const box of all("[data-bulk]")) bulk(box);
})();
