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

  // causes decides on the events of a cause.
  function causes(box) {
    const said = $("[data-causes-said]");
    async function one(row, what, body) {
      for (const button of all("button", row)) button.disabled = true;
      said.textContent = "";
      try {
        const answer = await fetch(`/v1/dead/events/${what}`, { method: "POST", headers: { "Content-Type": "application/json" },
          body: JSON.stringify({ causes: [row.dataset.cause], ...body }) });
        const got = await answer.json();
        if (!answer.ok) throw new Error(got.detail || "Patchbay did not take it");
        const outcomes = Object.entries(got.outcomes || {}).map(([reason, n]) => `${n} ${reason}`).join(", ");
        said.textContent = what === "dismiss" ? `${got.dismissed} dismissed.` : `${got.events} judged again${outcomes ? `: ${outcomes}` : ""}.`;
        row.remove();
        $("main").focus({ preventScroll: true });
      } catch (error) {
        said.textContent = `${error.message.replace(/\.?$/, ".")}`;
        for (const button of all("button", row)) button.disabled = false;
      }
    }
    for (const row of all("[data-cause]", box)) {
      $("[data-redrive-cause]", row).addEventListener("click", () => one(row, "redrive", {}));
      $("[data-dismiss-cause]", row).addEventListener("click", async () => {
        const reason = await ask("Dismiss these events", "Nothing more has to be done about them. They stay to be found, with your reason.", "Dismiss", true);
        if (reason !== null) one(row, "dismiss", { reason });
      });
    }
  }
  if ($("[data-causes]")) causes($("[data-causes]"));

  // post sends a decision that has no list of its own.
  async function post(url, body) {
    const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body: body && JSON.stringify(body) });
    if (!answer.ok) throw new Error((await answer.json()).detail || "Patchbay did not take it");
  }

  // plan decides on an action plan that waits.
  function plan(row) {
    const form = $("[data-decide]", row), said = $("[data-plans-said]");
    if (!form) return;
    async function decide(approve) {
      const reason = form.elements.reason;
      if (!reason.value.trim()) { said.textContent = "Give a reason: whoever finds it later wants to know."; reason.focus(); return; }
      for (const button of all("button", form)) button.disabled = true;
      try {
        await post(`/v1/plans/${row.dataset.plan}/decide`, { approve, reason: reason.value, action: approve ? form.elements.action.value : "" });
        said.textContent = approve ? "Approved. The next run writes it." : "Rejected.";
        row.remove();
        $("main").focus({ preventScroll: true });
      } catch (error) {
        said.textContent = `${error.message.replace(/\.?$/, ".")}`;
        for (const button of all("button", form)) button.disabled = false;
      }
    }
    form.addEventListener("submit", event => { event.preventDefault(); decide(true); });
    $("[data-reject]", form).addEventListener("click", () => decide(false));
  }
  for (const row of all("[data-plan]")) plan(row);

  for (const row of all("[data-drift]")) $("[data-approve-drift]", row)?.addEventListener("click", async event => {
    const button = event.currentTarget;
    button.disabled = true;
    try { await post(row.dataset.drift); location.reload(); } catch (error) { button.disabled = false; $("[data-drift-said]").textContent = `${error.message.replace(/\.?$/, ".")}`; }
  });

  // decided carries out what is asked of a row, with what went wrong said on the page.
  async function decided(row, said, url, body, done) {
    const buttons = all("button", row).filter(button => !button.disabled);
    for (const button of buttons) button.disabled = true;
    said.textContent = "";
    try {
      const answer = await fetch(url, { method: "POST", headers: { "Content-Type": "application/json" }, body });
      if (!answer.ok) throw new Error((await answer.json()).detail || "Patchbay did not take it");
      done();
    } catch (error) {
      for (const button of buttons) button.disabled = false;
      said.textContent = `${error.message.replace(/\.?$/, ".")}`;
    }
  }

  // conflict decides on a value that regions hold several of. What is sent is the value
  // that a person has seen, as exact as it is, and not its place: others may have come.
  function conflict(row) {
    const said = $("[data-conflicts-said]"), form = $("[data-another]", row);
    const take = json => decided(row, said, row.dataset.conflict, `{"value":${json}}`, () => {
      said.textContent = "Decided. The value goes to every region.";
      row.remove();
      $("main").focus({ preventScroll: true });
    });
    for (const button of all("[data-take]", row)) button.addEventListener("click", () => take(button.dataset.take));
    form?.addEventListener("submit", event => {
      event.preventDefault();
      const field = form.elements.value, kind = form.dataset.another, text = kind === "text" ? field.value : field.value.trim();
      const number = [/^-?(0|[1-9]\d*)(\.\d+)?$/, "Type a number, such as 12.50."]; // sent as it was typed, so that no digit is lost
      const [shape, wrong] = { number, quoted: number, time: [/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/, "Type a time with its zone, such as 2026-01-31T14:00:00Z."] }[kind]
        ?? [/[^]/, "Type a value, or take one of those that are held."];
      if (!shape.test(text)) { said.textContent = wrong; field.focus(); return; }
      take(kind === "number" || kind === "bool" ? text : JSON.stringify(text));
    });
  }
  for (const row of all("[data-conflict]")) conflict(row);

  // review decides what rules left to a person: the button that was pressed says what.
  function review(form) {
    const said = $("[data-review-said]", form);
    form.addEventListener("submit", event => {
      event.preventDefault();
      const reason = form.elements.reason.value.trim();
      if (!reason) { said.textContent = "Give a reason: the customer is told it."; form.elements.reason.focus(); return; }
      decided(form, said, form.dataset.review, JSON.stringify({ decision: event.submitter.value, reason }), () => location.reload());
    });
  }
  for (const form of all("[data-review]")) review(form);

  // hold leaves a table or a region alone, or goes on with it.
  function hold(button) {
    const box = button.closest("[data-border]"), said = $("[data-border-said]", box);
    const what = { [button.dataset.hold]: button.dataset.name };
    button.addEventListener("click", async () => {
      if ("resume" in button.dataset) return decided(box, said, `${box.dataset.border}/resume`, JSON.stringify(what), () => location.reload());
      const reason = await ask(`Put ${button.dataset.hold} ${button.dataset.name} on hold`,
        "Nothing of it comes in here until it is resumed. What changes meanwhile is kept where it is, and the others go on.", "Put on hold", true);
      if (reason !== null) decided(box, said, `${box.dataset.border}/hold`, JSON.stringify({ ...what, reason }), () => location.reload());
    });
  }
  for (const button of all("[data-hold]")) hold(button);

  // repair says that what stands has been put right.
  for (const row of all("[data-repair]")) $("[data-settle]", row).addEventListener("submit", event => {
    event.preventDefault();
    const note = event.target.elements.note, said = $("[data-repairs-said]");
    if (!note.value.trim()) { said.textContent = "Say what was done: whoever finds it later wants to know."; note.focus(); return; }
    decided(row, said, "/v1/repairs/settle", JSON.stringify({ run: row.dataset.repair, step: row.dataset.step, note: note.value }), () => {
      said.textContent = `${row.dataset.step} has been put right.`;
      row.remove();
      $("main").focus({ preventScroll: true });
    });
  });

  // A business event is offered again, or put aside.
  for (const row of all("[data-business]")) {
    const said = $("[data-business-said]"), url = `/v1/events/${encodeURIComponent(row.dataset.business)}/`, ids = [row.dataset.id];
    const gone = text => () => { said.textContent = text; row.remove(); $("main").focus({ preventScroll: true }); };
    $("[data-redrive-business]", row).addEventListener("click", () => decided(row, said, url + "redrive", JSON.stringify({ ids }), gone("Offered again.")));
    $("[data-dismiss-business]", row).addEventListener("click", async () => {
      const reason = await ask("Dismiss this event", "Nothing more has to be done about it. It stays to be found, with your reason.", "Dismiss", true);
      if (reason !== null) decided(row, said, url + "dismiss", JSON.stringify({ ids, reason }), gone("Dismissed."));
    });
  }

  // stop holds or resumes a flow, a connection or a schedule.
  function stop(row, what, kind, name, reason) {
    const scheduled = kind === "schedule";
    decided(row, $("[data-stops-said]"), scheduled ? `/v1/flows/${encodeURIComponent(name)}/${what}` : `/v1/stops/${what}`,
      scheduled ? (what === "hold" ? JSON.stringify({ reason }) : undefined) : JSON.stringify({ kind, name, reason }), () => location.assign("/stops"));
  }
  for (const row of all("[data-stop]")) $("[data-stop-resume]", row)?.addEventListener("click", () => stop(row, "resume", row.dataset.stop, row.dataset.name));
  $("[data-stop-hold]")?.addEventListener("submit", event => {
    event.preventDefault();
    const { what, reason } = event.target.elements, [kind, name] = what.value.split(" ");
    if (!reason.value.trim()) { $("[data-stops-said]").textContent = "Give a reason: whoever finds it held wants to know."; reason.focus(); return; }
    stop(event.target, "hold", kind, name, reason.value);
  });
})();
