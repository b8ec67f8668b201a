// The console's script: presses and cancels through the API, follows runs by
// EventSource, and puts what the server renders in place. It renders nothing of
// a run itself, so that a page looks the same with and without it.
// It gives letters.js, which comes after it, what both need.
const patchbay = (() => {
  "use strict";
  const $ = (selector, root = document) => root.querySelector(selector);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // ---- putting parts in place ----

  // place replaces the parts of the page that differ in html. What did not
  // change keeps its focus, its scroll and its animation.
  function place(html, root = document) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    for (const part of all("[data-part]", fresh)) {
      const old = $(`[data-part="${part.dataset.part}"]`, root);
      if (!old) continue;
      old.hidden = part.hidden;
      if (old.innerHTML === part.innerHTML) continue;
      const scroll = $(".scroll", old), top = scroll && scroll.scrollTop;
      const was = old.childElementCount || old.textContent;
      const focused = old.contains(document.activeElement) && document.activeElement;
      // A button that stays is the same button: it must not go from under a finger.
      for (const button of all("button", part)) {
        const same = all("button", old).find(b => b.outerHTML === button.outerHTML);
        if (same) button.replaceWith(same);
      }
      old.replaceChildren(...part.childNodes);
      if (!was) old.classList.add("appear");
      if (scroll && $(".scroll", old)) $(".scroll", old).scrollTop = top;
      if (focused) ($("button, a", old) || $("main")).focus({ preventScroll: true });
    }
    tick();
  }

  // ---- time ----

  const words = ms => ms < 999.5 ? `${Math.round(ms)} ms`
    : ms < 9995 ? `${(ms / 1000).toFixed(2)} s`
    : ms < 59950 ? `${(ms / 1000).toFixed(1)} s`
    : `${Math.floor(Math.round(ms / 1000) / 60)} min ${Math.round(ms / 1000) % 60} s`;

  function ago(at) {
    const s = Math.floor((Date.now() - at) / 1000);
    return s < 2 ? "just now" : s < 60 ? `${s} s ago` : s < 3600 ? `${Math.floor(s / 60)} min ago`
      : s < 86400 ? `${Math.floor(s / 3600)} h ago` : "";
  }

  // tick keeps elapsed and relative times true. An elapsed time counts from when
  // the server rendered it: the clocks of the two need not agree.
  function tick() {
    for (const node of all("[data-elapsed]")) {
      node.began ??= performance.now() - Number(node.dataset.elapsed);
      node.textContent = words(Math.round((performance.now() - node.began) / 100) * 100);
    }
    for (const node of all("time[datetime]")) {
      const text = ago(Date.parse(node.dateTime));
      if (text && node.textContent !== text) node.textContent = text;
    }
  }
  setInterval(tick, 100);

  // refresh asks for this page again and puts the parts below node in place.
  async function refresh(node) {
    try {
      const answer = await fetch(location.href);
      if (answer.ok) place(await answer.text(), node);
      return answer.ok;
    } catch { return false; /* offline: the page keeps what it has */ }
  }

  // ---- hearing of changes ----

  const rhythm = 1000;  // between two looks at what may have changed
  const beyond = 5000;  // the same while nobody tells of changes
  const pumps = [];
  let source = null;

  // pump looks whenever something has changed, never more often than it can be
  // answered, and not at all while nobody sees the page. moved says that the reader
  // did something that asks for another look.
  function pump(look, moved = () => false) {
    let due = true, busy = false, next = 0;
    const turn = async () => {
      const now = performance.now();
      if (busy || document.hidden || now < next && !moved.urgent || !(due || moved())) return;
      busy = true;
      due = moved.urgent = false;
      const wait = await look() ? rhythm : beyond; // offline: the page keeps what it has
      busy = false;
      if (wait === beyond) due = true;
      next = performance.now() + Math.max(wait, 4 * (performance.now() - now)); // a store that is slow is asked less
    };
    pumps.push(() => { due = true; turn(); });
    setInterval(turn, 250);
    turn();
    return () => { due = moved.urgent = true; turn(); };
  }

  // hear follows the stream of changes while the page is seen: a browser has few
  // connections to one server, and each page that is open would hold one.
  function hear() {
    if (!pumps.length) return;
    if (document.hidden) { source?.close(); source = null; return; }
    if (source && source.readyState !== EventSource.CLOSED) return;
    source = new EventSource("/v1/changes");
    source.addEventListener("changed", () => pumps.forEach(changed => changed()));
  }
  document.addEventListener("visibilitychange", hear);
  setInterval(() => {
    hear();
    if (source?.readyState !== EventSource.OPEN) pumps.forEach(changed => changed());
  }, beyond);

  // ---- following a run ----

  let following = null;

  // follow keeps the parts below root those of a run until it has ended; placed is
  // called whenever they changed.
  function follow(id, root, placed = () => {}) {
    if (following) following.end();
    let busy = false, again = false, ended = false, poll = 0;
    const live = async () => {
      if (busy) { again = true; return; }
      busy = true;
      try {
        do {
          again = false;
          const answer = await fetch(`/runs/${id}/live`);
          if (answer.ok && following === self) { place(await answer.text(), root); placed(); }
        } while (again);
        if (ended && latest) refresh(latest);
      } catch { /* offline: the next event or poll asks again */ }
      busy = false;
    };
    const latest = $("[data-latest]");
    const events = new EventSource(`/v1/runs/${id}/events`);
    const self = { end() { ended = true; events.close(); clearInterval(poll); } };
    following = self;
    events.addEventListener("run", event => {
      const status = JSON.parse(event.data).status;
      if (["completed", "failed", "cancelled"].includes(status)) self.end();
      live();
    });
    events.onerror = () => {
      if (ended || poll || events.readyState !== EventSource.CLOSED) return;
      poll = setInterval(async () => {
        await live();
        if ($("[data-ended]", root)) self.end();
      }, 2000);
      live();
    };
    live();
  }

  // ---- the live list ----

  const quietly = 10000;  // between two announcements to those who listen
  const calm = 8;         // new rows that appear; more of them are simply there

  // list keeps a list of runs true. New rows come on top while nobody reads: a
  // reader who has scrolled, points at a row or is in one by the keyboard finds
  // every row where it was, its state still live, and is told how many came.
  function list(box) {
    const rows = $("[data-part=rows]", box), filter = $("[data-filter]"), announce = $("[data-announce]");
    const hold = $("[data-hold]"), newer = $("[data-show-newer]"), pace = $("[data-pace-said]");
    let paused = false, pointed = false, whole = false, held = "", version = "", asking = null, heard = -quietly;
    let unsaid = { runs: 0, many: false, still: false };
    const past = () => new URLSearchParams(location.search).has("before");
    const reading = () => paused || pointed || past() || rows.contains(document.activeElement)
      || $("input:checked", rows) || rows.getBoundingClientRect().top < ($(".top")?.offsetHeight || 0);

    // row puts what a row says now in the place of what it said.
    function row(old, fresh) {
      if (old.dataset.version === fresh.dataset.version) return;
      old.dataset.version = fresh.dataset.version;
      old.dataset.state = fresh.dataset.state;
      $("a", old).replaceChildren(...$("a", fresh).childNodes);
      const stop = $("button", old);
      if (!stop && $("button", fresh)) $(".stop", old).replaceChildren($("button", fresh));
      if (stop && !$("button", fresh)) {
        if (stop === document.activeElement) $("a", old).focus({ preventScroll: true });
        stop.remove();
      }
    }

    // settle makes the list what the server says it is; held, only its rows.
    function settle(fresh, still) {
      const now = new Map([...rows.children].map(node => [node.dataset.row, node]));
      const next = [...fresh.children];
      let came = 0, absent = 0;
      for (const node of next) {
        const old = now.get(node.dataset.row);
        if (!old) { absent++; continue; }
        old.classList.remove("gone");
        row(old, node);
        came = absent; // below the last one that is shown nothing is new
      }
      if (absent === next.length) came = absent;
      if (still && rows.children.length) {
        const there = new Set(next.map(node => node.dataset.row));
        for (const [id, node] of now) node.classList.toggle("gone", !there.has(id));
        return came;
      }
      let at = rows.firstElementChild;
      for (const node of next) {
        let old = now.get(node.dataset.row);
        if (!old) { old = node; if (now.size && came <= calm) node.classList.add("appear"); }
        now.delete(node.dataset.row);
        if (old === at) { at = at.nextElementSibling; continue; }
        rows.insertBefore(old, at);
      }
      for (const node of now.values()) node.remove();
      rows.dataset.top = fresh.dataset.top;
      rows.className = fresh.className;
      return came;
    }

    function tell(came, many) {
      const still = held !== "";
      newer.hidden = !still || !came || past();
      newer.textContent = `${came}${many ? " or more" : ""} new`;
      unsaid = { runs: still ? came : came + (unsaid.still ? 0 : unsaid.runs), many, still };
    }

    // say tells those who listen, now and then, what those who look have seen.
    function say() {
      const { runs, many, still } = unsaid;
      const noun = announce.dataset.noun || "run";
      const text = `${runs}${many ? " or more" : ""} new ${noun}${runs === 1 ? "" : "s"}${still ? ", not shown yet" : ""}`;
      if (past() || !runs || still && text === announce.textContent || performance.now() - heard < quietly) return;
      heard = performance.now();
      announce.textContent = text;
      if (!still) unsaid.runs = 0;
    }

    // look asks for the list; it answers whether it was told.
    async function look() {
      const again = whole;
      whole = false;
      asking?.abort();
      const mine = asking = new AbortController();
      const still = !again && !!reading();
      if (!still || !held) { held = still ? rows.dataset.top : ""; version = ""; }
      const query = new URLSearchParams(location.search);
      if (held && !past()) query.set("until", held);
      try {
        const answer = await fetch(`${box.dataset.list}?${query}`, { signal: mine.signal, headers: version ? { "If-None-Match": version } : {} });
        if (mine !== asking) return true;
        if (answer.ok) {
          const page = new DOMParser().parseFromString(await answer.text(), "text/html");
          if (mine !== asking) return true;
          const fresh = $("[data-part=rows]", page);
          version = answer.headers.get("ETag") || "";
          const came = settle(fresh, still);
          tell(still ? came + Number(fresh.dataset.newer) : again ? 0 : came, "many" in fresh.dataset);
          if (pace) { pace.textContent = fresh.dataset.pace; pace.hidden = !fresh.dataset.pace; }
          for (const name of still ? [] : ["none", "older"]) {
            const part = $(`[data-part=${name}]`, box), now = $(`[data-part=${name}]`, page);
            part.hidden = now.hidden;
            if (part.innerHTML !== now.innerHTML) part.replaceChildren(...now.childNodes);
          }
          tick();
          box.dispatchEvent(new Event("settled"));
        } else if (answer.status !== 304) return false;
      } catch { // left for another look, or offline: the list keeps what it has
        return mine !== asking;
      } finally { say(); }
      return true;
    }
    const again = pump(look, () => (held !== "") !== !!reading());
    const anew = box.anew = () => { whole = true; asking?.abort(); again(); };

    // A filter keeps its place: its address is the page's, and nothing is loaded anew.
    function choose() {
      const query = new URLSearchParams([...new FormData(filter)].filter(([, value]) => value.trim()));
      history.replaceState(null, "", query.size ? `${location.pathname}?${query}` : location.pathname);
      anew();
    }

    const arrange = () => {
      hold.textContent = paused ? "Resume" : "Pause";
      hold.setAttribute("aria-pressed", String(paused));
    };
    const show = () => { paused = pointed = false; if (hold) arrange(); all("input:checked", rows).forEach(box => { box.checked = false; }); scrollTo(0, 0); anew(); };
    newer.addEventListener("click", () => { $("main").focus({ preventScroll: true }); show(); }); // the button goes
    hold?.addEventListener("click", () => { paused = !paused; arrange(); if (paused) again(); else show(); });
    rows.addEventListener("pointerenter", event => { pointed = event.pointerType === "mouse"; });
    rows.addEventListener("pointerleave", () => { pointed = false; });
    filter.addEventListener("change", choose);
    filter.addEventListener("submit", event => { event.preventDefault(); choose(); });
    $("[type=submit]", filter).hidden = true;
    if (hold) hold.hidden = past();
  }

  // ---- pressing ----

  const token = () => [...crypto.getRandomValues(new Uint8Array(16))].map(b => b.toString(16).padStart(2, "0")).join("");

  // body writes numbers as they were typed: what is a number stays exact.
  function body(form) {
    const pairs = [];
    for (const input of all("[data-type]", form)) {
      const type = input.dataset.type, text = input.value.trim();
      if (type === "bool") { pairs.push([input.name, String(input.checked)]); continue; }
      if (text === "") continue;
      const bare = (type === "int" || type === "decimal") && /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(text);
      pairs.push([input.name, bare ? text : JSON.stringify(text)]);
    }
    return "{" + pairs.map(([name, value]) => JSON.stringify(name) + ":" + value).join(",") + "}";
  }

  // said is what is wrong with a field, in the words of the flow's own form.
  const said = (input, error) => error.code === "field.required" && input.dataset.missing
    || error.code === "field.pattern" && input.dataset.malformed
    || error.detail.replace(input.name, input.dataset.label || input.name) + ".";

  function wrong(form, problem) {
    let first = null, rest = [];
    for (const error of problem.errors || []) {
      const name = error.path.replace(/^params\./, ""), input = form.elements[name];
      const place = document.getElementById("e-" + name);
      if (!input || !place) { rest.push(error.detail); continue; }
      place.textContent = said(input, error);
      place.title = [error.detail, error.fix].filter(Boolean).join("; ");
      input.setAttribute("aria-invalid", "true");
      first ??= input;
    }
    if (first) first.focus();
    return first && !rest.length ? "" : rest.join("; ") || problem.detail;
  }

  function press(form) {
    const ready = $("[data-ready]", form), progress = $('[data-part="progress"]', form);
    let sending = false;
    let pending = null; // a press without an answer keeps its key: sending it again is safe
    let under = null;   // what was pressed last; while that goes on, the same is not pressed again

    const going = () => sending || progress.childElementCount > 0 && !$("[data-ended]", progress) && under === body(form);
    const arrange = () => {
      const shown = ready.hidden && !going();
      ready.hidden = going();
      if (shown && document.activeElement === document.body) $("[type=submit]", ready).focus({ preventScroll: true });
    };

    const restore = said => {
      sending = false;
      under = null;
      progress.replaceChildren();
      arrange();
      $("[data-said]", ready).textContent = said;
      $("[type=submit]", ready).focus({ preventScroll: true });
    };

    form.addEventListener("submit", async event => {
      event.preventDefault();
      if (going()) return;
      const text = body(form);
      if (!pending || pending.text !== text) pending = { text, key: token() };
      for (const input of all("[aria-invalid]", form)) input.removeAttribute("aria-invalid");
      for (const node of all(".wrong", form)) node.textContent = "";
      sending = true;
      busy(progress);
      arrange();
      try {
        const answer = await fetch(form.dataset.press, {
          method: "POST", body: text,
          headers: { "Content-Type": "application/json", "Idempotency-Key": pending.key, "Prefer": "wait=0" },
        });
        const got = await answer.json();
        if (answer.ok) {
          pending = null;
          sending = false;
          under = text;
          $("#live").hidden = false;
          for (const part of all("[data-part]", $("#live"))) part.replaceChildren();
          follow(got.run_id, document, arrange);
          return;
        }
        const said = wrong(form, got);
        if (!got.retry) pending = null;
        restore(said + (got.retry ? " Press Run to try again; it cannot run twice." : ""));
        if (got.errors) $("[aria-invalid]", form)?.focus();
      } catch {
        restore("Patchbay did not answer. Press Run to try again; it cannot run twice.");
      }
    });

    form.addEventListener("input", event => {
      event.target.removeAttribute("aria-invalid");
      const place = document.getElementById("e-" + event.target.name);
      if (place) place.textContent = "";
      arrange();
    });
  }

  // busy shows at once that the press was seen; the server's words follow.
  function busy(go) {
    const badge = document.createElement("span");
    badge.className = "state running";
    badge.innerHTML = '<svg class="icon ring" viewBox="0 0 16 16" aria-hidden="true"><circle cx="8" cy="8" r="5.5" fill="none" stroke="currentColor" stroke-width="2" stroke-dasharray="26 9"/></svg><span>Accepted</span>';
    badge.lastChild.textContent = "Sending";
    const elapsed = document.createElement("span");
    elapsed.className = "num";
    elapsed.dataset.elapsed = "0";
    go.replaceChildren(badge, elapsed);
    tick();
  }

  async function sample(form, link) {
    const said = $("[data-said]", form);
    said.textContent = "";
    try {
      const answer = await fetch(form.dataset.sample, { headers: { Accept: "application/json" } });
      if (!answer.ok) throw new Error("none");
      for (const [name, value] of Object.entries(await answer.json())) {
        const input = form.elements[name];
        if (!input) continue;
        if (input.type === "checkbox") input.checked = value === "yes";
        else input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true }));
      }
      $("[type=submit]", form)?.focus();
    } catch {
      said.textContent = "No sample can be had right now.";
      link.focus();
    }
  }

  async function cancel(button) {
    button.disabled = true;
    button.textContent = "Cancelling…";
    try {
      const answer = await fetch(button.dataset.cancel, { method: "POST", headers: { "Prefer": "wait=30" } });
      if (answer.ok) return; // the events show how it ends
    } catch { /* as below */ }
    button.disabled = false;
    button.textContent = "Cancel again";
  }

  // ---- pages ----

  // poll keeps a page true that is not a list.
  // One whose figures change without a run asks each second.
  const poll = node => pump(() => refresh(document), () => node.dataset.poll === "often");

  document.addEventListener("click", event => {
    const button = event.target.closest("[data-cancel]");
    if (button) cancel(button);
    const link = event.target.closest("[data-use-sample]");
    if (link) { event.preventDefault(); sample(link.closest("form"), link); }
    if (event.target.closest("[data-theme-switch]")) {
      const root = document.documentElement;
      const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
      root.dataset.theme = dark ? "light" : "dark";
      document.cookie = `theme=${root.dataset.theme}; path=/; max-age=31536000; samesite=strict`;
    }
  });

  // ---- the keyboard ----

  // step moves to the next row of a list, or to the one before.
  function step(by) {
    const rows = all("main .list a").filter(row => row.offsetParent);
    const at = rows.findIndex(row => row.closest("li").contains(document.activeElement));
    const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(at + by, 0), rows.length - 1)];
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: "nearest" });
  }

  const keys = {
    "/": () => { const search = $("[data-search]"); search?.focus(); search?.select(); return !!search; },
    "?": () => { help(); return true; },
    j: () => { step(1); return true; },
    k: () => { step(-1); return true; },
    x: () => { const pick = $("[data-pick]", document.activeElement?.closest("li") || document.createElement("li")); pick?.click(); return !!pick; },
  };

  const help = () => $("#help").open || $("#help").showModal();

  document.addEventListener("keydown", event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("input:not([type=checkbox]), textarea, select");
    if (event.key === "Escape" && !$("dialog[open]")) return document.activeElement?.blur();
    if (field || $("dialog[open]")) return;
    if (keys[event.key]?.()) event.preventDefault();
  });
  $("[data-help]")?.addEventListener("click", help);

  for (const form of all("[data-press]")) press(form);
  if ($("[data-poll]")) poll($("[data-poll]"));
  for (const box of all("[data-list]")) list(box);
  const page = $("[data-run]");
  if (page && !("final" in page.dataset)) follow(page.dataset.run, page);
  hear();
  tick();
  return { $, all, body };
})();
