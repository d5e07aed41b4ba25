// The page asks for state.json once a second while it is seen, and changes what has
// changed. All that comes from records or errors is set as text, never as markup.

// Figures.

function short(n) {
  const units = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]];
  for (const [size, unit] of units) {
    if (n >= size * .9995) return Number((n / size).toPrecision(3)) + unit;
  }
  return String(Math.round(n));
}
const perSecond = (n) => (n < 9.95 && n % 1 !== 0 ? n.toFixed(1) : short(n));
const count = (n) => n.toLocaleString("en");
function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let i = 0;
  while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
  return Number(n.toPrecision(3)) + " " + units[i];
}
function duration(ms) {
  if (ms < 1) return Math.max(1, Math.round(ms * 1000)) + " µs";
  if (ms < 999.5) return Number(ms.toPrecision(ms < 100 ? 2 : 3)) + " ms";
  const s = ms / 1000;
  if (s < 9.95) return s.toFixed(1) + " s";
  if (s < 59.5) return Math.round(s) + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + Math.floor(s % 60) + " s";
  if (s < 172800) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " days";
}
const plural = (n, one, many) => `${count(n)} ${n === 1 ? one : many}`;
const clock = (at) => new Date(at).toLocaleTimeString("en-GB");
const day = (at) => new Date(at).toLocaleString("en-GB");

// Elements.

function el(name, properties, ...children) {
  const e = document.createElement(name);
  for (const [k, v] of Object.entries(properties || {})) {
    if (k in e) e[k] = v; else e.setAttribute(k, v);
  }
  e.append(...children);
  return e;
}
function set(e, text) {
  if (e.textContent !== text) e.textContent = text;
}
function mood(e, name) { // of a pill, tile or banner
  for (const m of ["good", "warn", "bad"]) e.classList.toggle(m, m === name);
}

// One run.

class Run {
  constructor(run) {
    this.id = run.id;
    this.phase = el("p", { className: "pill", "data-field": "phase" });
    this.about = el("p", { className: "about" });
    this.heading = el("h2", { id: "run-" + run.id, tabIndex: -1 }, run.pipeline);
    this.error = el("p", { className: "banner bad", hidden: true });
    this.tiles = {};
    const tiles = el("dl", { className: "tiles" });
    for (const [name, label] of [["in", "Input"], ["lag", "Lag"], ["commit", "Last commit"], ["open", "Open transaction"], ["time", "Time of a record"], ["letters", "Dead letters"]]) {
      const t = { big: el("dd", { className: "big", "data-field": name }), sub: el("dd", { className: "sub", "data-field": name + "-about" }) };
      t.box = el("div", { className: "tile", "data-tile": name }, el("dt", {}, label), t.big, t.sub);
      this.tiles[name] = t;
      tiles.append(t.box);
    }
    this.area = svg("path", { class: "area" });
    this.line = svg("path", { class: "line" });
    this.tiles.in.box.append(svg("svg", { class: "curve", viewBox: "0 0 120 40", preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line));
    this.facts = el("p", { className: "facts" });
    this.graphHost = el("div", { className: "graph", tabIndex: 0, role: "group", ariaLabel: "The graph" });
    this.graph = new Graph(this.graphHost, run.fixed.graph);
    this.graph.label = `Graph of ${run.pipeline}. The table “Stages” has the same figures.`;
    this.stages = new Stages(run.fixed.graph.nodes);
    this.partitions = new Partitions();
    this.letters = new Letters();
    this.tables = el("p", { className: "note" });
    this.element = el("section", { className: "run", "aria-labelledby": this.heading.id },
      el("header", {}, this.heading, this.phase, this.about), this.error, tiles, this.facts,
      el("div", { className: "panel" }, el("h3", {}, "Graph ", el("span", { className: "note" }, "records a second, of the last 5 seconds")), this.graphHost, this.tables),
      this.stages.element,
      el("div", { className: "columns" }, this.letters.element, this.partitions.element),
      settings(run.fixed.settings));
  }

  update(run, now, several) {
    set(this.heading, several ? `${run.pipeline} · ${run.id}` : run.pipeline);
    const ended = run.ended > 0, c = run.commits, tile = this.tiles;
    set(this.phase, run.phase + (["running", "ended"].includes(run.phase) || run.phaseAge < 2000 ? "" : ", " + duration(run.phaseAge)));
    mood(this.phase, run.phase === "running" ? "good" : run.error ? "bad" : ended ? "" : "warn");
    set(this.about, `${run.guarantee} · ${ended ? `ended ${day(run.ended)}, after ${duration(run.ended - run.began)}` : `for ${duration(Math.max(1, now - run.began))}`}`);
    this.error.hidden = !run.error;
    set(this.error, "✕ The run has ended: " + run.error);

    set(tile.in.big, run.in === null ? "–" : perSecond(run.in) + "/s");
    set(tile.in.sub, run.in === null ? count(run.totals.records) + " records" : `${bytes(run.inBytes)}/s, ${perSecond(run.out)}/s out`);
    this.curve(run.curve);

    const p = run.partitions, idle = p.total === 0;
    set(tile.lag.big, idle || p.unknown === p.total ? "–" : count(p.lag));
    set(tile.lag.sub, idle ? "no partitions" : plural(p.total, "partition", "partitions") + (p.waiting ? `, ‖ ${p.waiting} waiting` : "") + (p.unknown ? `, ${p.unknown} unknown` : ""));
    mood(tile.lag.box, p.waiting ? "warn" : "");

    set(tile.commit.big, ended ? "–" : c.age === null ? "none yet" : (c.overdue ? "✕ " : "") + duration(c.age) + " ago");
    set(tile.commit.sub, c.overdue ? "late: " + c.overdue : c.last ? `${plural(c.last.records, "record", "records")} ${c.last.outcome} in ${duration(c.last.committing)}` : "");
    mood(tile.commit.box, c.overdue ? "bad" : "");

    set(tile.open.big, c.open === null ? "none" : duration(c.open));
    set(tile.open.sub, c.open === null ? "" : `${plural(c.openRecords, "record", "records")}, ${bytes(c.openBytes)}`);

    set(tile.time.big, run.recordTime.p99 === null ? "–" : duration(run.recordTime.p99));
    set(tile.time.sub, run.recordTime.p50 === null ? "p99" : "p99; p50 " + duration(run.recordTime.p50));

    const recent = run.stages.reduce((n, s) => n + s.recent, 0), t = run.totals;
    set(tile.letters.big, (recent ? "▲ " : "") + count(t.deadLetters));
    set(tile.letters.sub, [recent ? `${count(recent)} errors in the last minute` : "", t.skipped ? `${count(t.skipped)} skipped` : ""].filter(Boolean).join(", "));
    mood(tile.letters.box, recent ? "warn" : "");

    this.showFacts(t, c);
    set(this.tables, run.tables.map((x) => `Table ${x.topic}: ${plural(x.entries, "entry", "entries")}, ${bytes(x.bytes)}${x.lag > 0 ? `, ${count(x.lag)} behind` : ""}`).join(" · "));
    this.tables.hidden = run.tables.length === 0;
    this.graph.update(run);
    this.stages.update(run.stages);
    this.partitions.update(p);
    this.letters.update(run.deadLetters, t.deadLetters);
  }

  curve(rates) {
    const most = Math.max(1, ...rates), step = 120 / 119, first = 120 - (rates.length - 1) * step;
    const points = rates.map((r, i) => `${(first + i * step).toFixed(1)},${(39 - r / most * 36).toFixed(1)}`).join(" L");
    this.line.setAttribute("d", rates.length > 1 ? "M" + points : "");
    this.area.setAttribute("d", rates.length > 1 ? `M${first.toFixed(1)},40 L${points} L120,40 Z` : "");
  }

  showFacts(t, c) {
    const failed = (outcome) => c.failed.filter((f) => f.outcome === outcome);
    const reasons = (list) => list.map((f) => `${f.reason} ${count(f.count)}`).join(", ");
    const aborted = failed("aborted"), unknown = failed("unknown");
    const facts = [
      ["records", count(t.records)], ["committed", count(t.committed)], ["outputs", count(t.outputs)], ["commits", count(t.commits)],
      ["aborts", count(t.aborts) + (aborted.length ? ` (${reasons(aborted)})` : "")],
      ["sessions", count(t.sessions)], ["initialisations", count(t.recoveries)],
    ];
    if (unknown.length) facts.push(["unknown outcomes", reasons(unknown)]);
    if (t.interceptorFailures) facts.push(["interceptor failures", count(t.interceptorFailures)]);
    const text = JSON.stringify(facts);
    if (this.shown === text) return;
    this.shown = text;
    this.facts.replaceChildren(...facts.map(([name, value]) => {
      const trouble = (name === "aborts" && t.aborts > 0) || name === "unknown outcomes" || name === "interceptor failures";
      return el("span", { className: trouble ? "trouble" : "", "data-fact": name }, name + " ", el("b", {}, (trouble ? "▲ " : "") + value));
    }));
  }
}

// The stages as a table: what the graph shows, and more.

class Stages {
  constructor(nodes) {
    const head = ["Stage", "Kind", "In/s", "Out/s", "p50", "p99", "Dropped", "Dead letters", "Skipped", "Retries", "Cache hits", "On error"];
    const body = el("tbody");
    this.kinds = nodes.map((n) => n.kind);
    this.rows = nodes.map((n) => {
      const cells = head.slice(2, -1).map(() => el("td", { className: "num" }));
      body.append(el("tr", {}, el("th", { scope: "row" }, n.name), el("td", { className: "muted" }, n.kind), ...cells, el("td", { className: "muted" }, n.policy || "")));
      return cells;
    });
    const table = el("table", {}, el("thead", {}, el("tr", {}, ...head.map((h, i) => el("th", { scope: "col", className: i > 1 && i < head.length - 1 ? "num" : "" }, h)))), body);
    this.element = el("details", { className: "panel" }, el("summary", {}, "Stages"), el("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Stages" }, table));
  }

  update(stages) {
    stages.forEach((s, i) => {
      const time = (t) => (t === null ? "–" : duration(t)), rate = (r) => (r === null ? "–" : perSecond(r));
      const texts = [this.kinds[i] === "table" ? "–" : rate(s.in), ["table", "output"].includes(this.kinds[i]) ? "–" : rate(s.out), time(s.time.p50), time(s.time.p99), count(s.dropped), count(s.deadLetters), count(s.skipped), count(s.retries),
        s.hits === undefined ? "–" : (s.hits * 100).toFixed(1) + " %"];
      texts.forEach((text, j) => set(this.rows[i][j], text));
      this.rows[i][5].classList.toggle("warn-text", s.recent > 0 && s.deadLetters > 0);
      this.rows[i][6].classList.toggle("warn-text", s.recent > 0 && s.skipped > 0);
    });
  }
}

// The partitions, sorted as one likes.

class Partitions {
  constructor() {
    this.columns = [
      ["Topic", (p) => p.topic], ["Partition", (p) => p.partition, "num"], ["Committed", (p) => p.committed, "num"],
      ["Lag", (p) => p.lag, "num"], ["Heard", (p) => p.heard ?? -1, "num"], ["Waits in", (p) => p.waiting || ""],
    ];
    this.by = -1; // as the server has them: the worst first
    this.down = true;
    this.note = el("span", { className: "note" });
    this.heads = this.columns.map(([name, , css], i) => {
      const button = el("button", { type: "button" }, name);
      button.addEventListener("click", () => this.sort(i));
      return el("th", { scope: "col", className: css || "" }, button);
    });
    this.body = el("tbody");
    this.table = el("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Partitions" },
      el("table", {}, el("thead", {}, el("tr", {}, ...this.heads)), this.body));
    this.element = el("div", { className: "panel" }, el("h3", {}, "Partitions ", this.note), this.table);
  }

  sort(column) {
    this.down = this.by === column ? !this.down : this.columns[column][2] === "num";
    this.by = column;
    this.heads.forEach((h, i) => {
      const [name] = this.columns[i];
      h.setAttribute("aria-sort", i !== column ? "none" : this.down ? "descending" : "ascending");
      set(h.firstChild, name + (i !== column ? "" : this.down ? " ↓" : " ↑"));
    });
    this.show();
  }

  update(p) {
    this.latest = p.worst;
    set(this.note, p.total === 0 ? "none" : p.total > p.worst.length ? `the ${p.worst.length} with the most lag of ${count(p.total)}` : count(p.total));
    this.show();
  }

  show() {
    let rows = this.latest || [];
    if (this.by >= 0) {
      const key = this.columns[this.by][1], sign = this.down ? -1 : 1;
      rows = rows.toSorted((a, b) => (key(a) < key(b) ? -sign : key(a) > key(b) ? sign : 0));
    }
    const waits = rows.some((p) => p.waiting || p.due !== null);
    while (this.body.rows.length > rows.length) this.body.deleteRow(-1);
    rows.forEach((p, i) => {
      const tr = this.body.rows[i] || this.row();
      const unknown = (n) => (n < 0 ? "–" : count(n));
      const texts = [p.topic, String(p.partition), unknown(p.committed), unknown(p.lag), p.heard === null ? "–" : duration(p.heard),
        p.waiting ? `‖ ${p.waiting}${p.cause ? ": " + p.cause : ""}` : p.due !== null ? `due in ${duration(p.due)}` : ""];
      texts.forEach((text, j) => set(tr.cells[j], text));
      tr.cells[5].classList.toggle("warn-text", Boolean(p.waiting));
      tr.cells[5].hidden = !waits;
    });
    this.heads[5].hidden = !waits;
    this.table.hidden = rows.length === 0;
  }

  row() {
    const tr = this.body.insertRow();
    this.columns.forEach(([, , css], i) => tr.append(el("td", { className: css || (i === 5 ? "why" : "") })));
    return tr;
  }
}

// The dead letters; those that are open stay open.

class Letters {
  constructor() {
    this.note = el("span", { className: "note" });
    this.list = el("ul", { className: "letters", "data-field": "letters-list" });
    this.empty = el("p", { className: "empty" }, "None.");
    this.element = el("div", { className: "panel" }, el("h3", {}, "Dead letters ", this.note), this.empty, this.list);
    this.items = new Map();
  }

  update(letters, total) {
    set(this.note, total > letters.length ? `the last ${letters.length} of ${count(total)}, as far as they were seen` : "");
    this.empty.hidden = letters.length > 0;
    set(this.empty, total > 0 ? "None since the console looks." : "None.");
    const seen = new Map();
    for (const l of letters) {
      let key = [l.topic, l.partition, l.offset, l.stage, l.at].join(" ");
      while (seen.has(key)) key += "'";
      const item = this.items.get(key) || this.item(l);
      if (item.form !== l.form) this.fill(item, l); // decoded by now
      seen.set(key, item);
    }
    this.items = seen;
    const wanted = [...seen.values()].map((i) => i.element);
    if (wanted.length !== this.list.children.length || wanted.some((e, i) => this.list.children[i] !== e)) this.list.replaceChildren(...wanted);
  }

  item(l) {
    const item = { body: el("div", { className: "body" }) };
    item.element = el("li", {}, el("details", {}, el("summary", {},
      el("time", { dateTime: new Date(l.at).toISOString(), title: day(l.at) }, clock(l.at)), el("span", { className: "stage" }, l.stage), el("span", { className: "reason" }, l.reason)), item.body));
    return item;
  }

  fill(item, l) {
    item.form = l.form;
    const parts = [el("p", {}, el("span", { className: "muted" }, "from "), `${l.topic}, partition ${l.partition}, offset ${count(l.offset)}`)];
    if (l.form === "hidden") {
      parts.push(el("p", { className: "muted" }, `key of ${bytes(l.keySize)}, value of ${bytes(l.valueSize)}; this console shows no payloads`));
    } else {
      parts.push(el("p", {}, el("span", { className: "muted" }, "key "), l.keySize ? el("span", { className: "mono" }, l.key) : el("span", { className: "muted" }, "none")));
      const what = { json: "decoded", text: "as text", hex: "not decodable, as hexadecimal", null: "null (a tombstone)" }[l.form];
      parts.push(el("p", {}, el("span", { className: "muted" }, `value of ${bytes(l.valueSize)}, ${what}`)));
      if (l.form !== "null") parts.push(el("pre", { tabIndex: 0 }, l.value));
    }
    item.body.replaceChildren(...parts);
  }
}

function settings(list) {
  const body = el("tbody");
  for (const s of list) body.append(el("tr", {}, el("td", { className: "muted" }, s.of), el("th", { scope: "row" }, s.name), el("td", { className: s.value ? "mono" : "muted" }, s.value || "not set")));
  return el("details", { className: "panel" }, el("summary", {}, "Configuration ", el("span", { className: "note" }, "in force; secrets are hidden")),
    el("div", { className: "scroll", tabIndex: 0, role: "group", ariaLabel: "Configuration" }, el("table", {},
      el("thead", {}, el("tr", {}, ...["Of", "Setting", "Value"].map((h) => el("th", { scope: "col" }, h)))), body)));
}

// The page.

const $ = (id) => document.getElementById(id);
const page = { runs: new Map(), answered: 0, failing: 0, timer: 0 };

function show(state) {
  document.title = (state.failed.length || state.notReady.length ? "▲ " : "") + state.title + " · Leat";
  set($("title"), state.title);
  const ready = $("ready");
  ready.hidden = false;
  set(ready, state.notReady.length ? "▲ not ready" : "● ready");
  ready.title = state.notReady.join("\n");
  mood(ready, state.failed.length ? "bad" : state.notReady.length ? "warn" : "good");

  const names = state.runs.map((r) => r.pipeline), before = page.runs;
  page.runs = new Map(state.runs.map((r) => [r.id, before.get(r.id) || new Run(r)]));
  const sections = [...page.runs.values()].map((r) => r.element), main = $("runs");
  if (sections.length !== main.children.length || sections.some((e, i) => main.children[i] !== e)) {
    main.replaceChildren(...(sections.length ? sections : [el("p", { className: "empty" }, "No pipeline runs yet.")]));
  }
  for (const r of state.runs) page.runs.get(r.id).update(r, state.at, names.filter((n) => n === r.pipeline).length > 1);
  overview(state.runs, names);
  // For those who hear the page: what has changed, not every figure.
  const late = state.runs.filter((r) => r.commits.overdue).map((r) => `commits of ${r.pipeline} are late`);
  set($("news"), [...late, ...state.notReady, ...state.failed].join("; ").replace(/ for [\d.hms]+$/, "") || "all is well");
}

function overview(runs, names) {
  const nav = $("overview");
  nav.hidden = runs.length < 2;
  if (nav.hidden) return;
  while (nav.children.length > runs.length) nav.lastChild.remove();
  runs.forEach((r, i) => {
    const a = nav.children[i] || nav.appendChild(el("a", {}, el("strong"), el("span", { className: "pill" }), el("span", { className: "figures" })));
    const [name, pill, figures] = a.children;
    a.href = "#run-" + r.id;
    set(name, r.pipeline + (names.filter((n) => n === r.pipeline).length > 1 ? " · " + r.id : ""));
    set(pill, r.commits.overdue ? "✕ commits late" : r.phase);
    mood(pill, r.error || r.commits.overdue ? "bad" : r.phase === "running" ? "good" : r.ended ? "" : "warn");
    set(figures, r.ended ? `${count(r.totals.records)} records` : `${r.in === null ? "–" : perSecond(r.in)}/s · lag ${count(r.partitions.lag)} · ${count(r.totals.deadLetters)} dead letters`);
  });
}

async function ask() {
  try {
    const answer = await fetch("state.json", { signal: AbortSignal.timeout(3000), cache: "no-store" });
    return answer.ok ? await answer.json() : null;
  } catch {
    return null; // the process is gone, or stuck
  }
}

async function refresh() {
  page.timer = -1; // under way
  const state = await ask();
  if (state && state.version !== 1) return location.reload();
  page.failing = state ? 0 : page.failing || Date.now();
  if (state) page.answered = Date.now();
  $("gone").hidden = Boolean(state);
  document.body.classList.toggle("stale", !state);
  set($("gone"), "✕ The process does not answer" + (page.answered ? `; what is below is of ${clock(page.answered)}.` : "."));
  set($("status"), state ? "live · " + clock(state.at) : "no answer since " + clock(page.failing));
  page.timer = document.hidden ? 0 : setTimeout(refresh, state ? state.again : 1000);
  if (state) show(state);
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) set($("status"), "paused");
  else if (!page.timer) refresh();
});
refresh();
