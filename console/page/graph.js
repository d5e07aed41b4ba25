"use strict";

// The graph of a pipeline, drawn as SVG. The server has placed the nodes in layers and
// rows; here they are turned as the screen has room: along it, or down on a phone.

const SVG = "http://www.w3.org/2000/svg";
const LANE = 20; // pixels beside the nodes, for ways that go round them

function svg(name, attributes, ...children) {
  const e = document.createElementNS(SVG, name);
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

const ruler = document.createElement("canvas").getContext("2d");

// fit cuts text to a width in pixels. It leaves begin and end: names often differ there.
function fit(text, width, font) {
  ruler.font = font + " " + getComputedStyle(document.body).fontFamily;
  let short = text;
  for (let n = text.length - 1; n > 1 && ruler.measureText(short).width > width; n--) {
    short = text.slice(0, Math.ceil(n * .6)) + "…" + text.slice(text.length - Math.floor(n * .4));
  }
  return short;
}

// between is a point on the curve from a to b that drawEdge draws.
function between(a, b, t, down) {
  const mix = (p, c1, c2, q) => (1 - t) ** 3 * p + 3 * (1 - t) ** 2 * t * c1 + 3 * (1 - t) * t ** 2 * c2 + t ** 3 * q;
  const m = down ? (a.y + b.y) / 2 : (a.x + b.x) / 2;
  return down ? { x: mix(a.x, a.x, b.x, b.x), y: mix(a.y, m, m, b.y) } : { x: mix(a.x, m, m, b.x), y: mix(a.y, a.y, b.y, b.y) };
}

class Graph {
  constructor(host, graph) {
    this.host = host;
    this.graph = graph;
    this.width = 0;
    this.latest = null;
    new ResizeObserver(() => this.resize()).observe(host);
  }

  resize() {
    const width = this.host.clientWidth - 28;
    if (width <= 0 || width === this.width) return;
    this.width = width;
    this.draw();
    if (this.latest) this.update(this.latest);
  }

  // measure chooses the direction and the sizes: along if that fits, else down if that
  // does, which is for phones, else along in several bands, or wider than the screen.
  measure() {
    const g = this.graph, rows = g.rows + 1, phone = this.width < 600;
    const need = (w, gap, layers) => layers * w + (layers - 1) * gap;
    this.down = false;
    this.perBand = g.layers;
    const along = { w: 158, h: 66, gapMain: 64, gapCross: 20 };
    if (need(along.w, along.gapMain, g.layers) <= this.width) {
      // With room to spare cards and ways grow a little.
      const spare = Math.min(1.25, this.width / need(along.w, along.gapMain, g.layers));
      return { ...along, w: along.w * spare, gapMain: along.gapMain * spare };
    }
    Object.assign(along, { w: 136, gapMain: 50 });
    if (need(along.w, along.gapMain, g.layers) <= this.width) return along;
    const w = Math.min(230, (this.width - LANE - (rows - 1) * 12) / rows);
    if (phone && w >= 104) {
      this.down = true;
      return { w, h: 66, gapMain: 32, gapCross: 12 };
    }
    const fitting = Math.floor((this.width - 2 * LANE + along.gapMain) / (along.w + along.gapMain));
    if (!phone && fitting >= 3) {
      this.perBand = Math.ceil(g.layers / Math.ceil(g.layers / fitting)); // bands of one length
      along.w = Math.min(200, (this.width - 2 * LANE - (this.perBand - 1) * along.gapMain) / this.perBand);
    }
    return along;
  }

  // at returns a place's left upper corner.
  at(layer, row) {
    const s = this.size;
    if (this.down) return { x: row * (s.w + s.gapCross), y: layer * (s.h + s.gapMain) };
    const band = Math.floor(layer / this.perBand);
    return { x: this.left + (layer % this.perBand) * (s.w + s.gapMain), y: band * this.bandHeight + row * (s.h + s.gapCross) };
  }

  draw() {
    const g = this.graph, s = (this.size = this.measure());
    const bands = Math.max(1, Math.ceil(g.layers / this.perBand)), folded = bands > 1;
    this.bandHeight = g.rows * (s.h + s.gapCross) + s.h + 44;
    this.left = folded ? LANE : 0; // where ways come back
    const end = this.at(Math.min(g.layers, this.perBand) - 1, g.rows);
    let width = end.x + s.w + (folded ? LANE : 0), height = (bands - 1) * this.bandHeight + end.y + s.h;
    if (this.down) height = this.at(g.layers - 1, 0).y + s.h, width = this.at(0, g.rows).x + s.w;
    if (g.deadLetter) {
      if (this.down) width += LANE;
      height += s.h + (this.down ? s.gapMain : s.gapCross);
    }
    const side = this.down || folded; // dead letters go down beside the nodes, else along below
    this.letterAt = { x: width - s.w, y: height - s.h };
    const laneAt = side ? width - 5 : height - s.h / 2;
    const root = svg("svg", { width: width + 2, height: height + 2, viewBox: `-1 -1 ${width + 2} ${height + 2}`, role: "img", "aria-label": this.label });
    const drains = svg("g", { class: "drains" }), ways = svg("g"), labels = svg("g"), cards = svg("g");
    root.append(drains, ways, cards, labels);
    this.edges = g.edges.map((e) => this.drawEdge(e, ways, labels));
    this.nodes = g.nodes.map((n) => this.drawNode(n, this.at(n.layer, n.row), cards));
    if (g.deadLetter) {
      this.letters = this.drawNode({ name: g.deadLetter, kind: "dead letters", css: "letters" }, this.letterAt, cards);
      this.drains = g.nodes.map((n) => {
        const p = this.at(n.layer, n.row), a = this.letterAt;
        const below = Math.floor(n.layer / this.perBand) * this.bandHeight + this.bandHeight - 36; // of the band
        const d = this.down ? `M${p.x + s.w},${p.y + s.h * .7} H${laneAt - 6} q6,0 6,6 V${a.y}`
          : folded ? `M${p.x + s.w * .3},${p.y + s.h} V${below - 6} q0,6 6,6 H${laneAt - 6} q6,0 6,6 V${a.y}`
            : `M${p.x + s.w * .3},${p.y + s.h} V${laneAt - 6} q0,6 6,6 H${a.x}`;
        const way = svg("path", { class: "edge letters", d, visibility: "hidden" });
        drains.append(way);
        return way;
      });
    }
    this.host.replaceChildren(root);
  }

  drawNode(n, p, into) {
    const s = this.size, inner = s.w - 24;
    const e = svg("g", { class: "node " + (n.css || n.kind), transform: `translate(${p.x},${p.y})` });
    const title = svg("title");
    const text = (css, x, y, anchor) => svg("text", { class: css, x, y, "text-anchor": anchor || "start" });
    const name = text("name", 14, 21), kind = text("kind", 14, 37), badge = text("badge", s.w - 10, 37, "end");
    const rate = text("flow", 14, 55), time = text("time", s.w - 10, 55, "end");
    name.append(fit(n.name, inner, "620 13px"));
    kind.append(n.kind);
    e.append(title, svg("rect", { class: "box", width: s.w, height: s.h, rx: 10 }),
      svg("rect", { class: "side", x: 5, y: 8, width: 3, height: s.h - 16, rx: 1.5 }), name, kind, badge, rate, time);
    into.append(e);
    return { e, title, kind, badge, rate, time, of: n };
  }

  drawEdge(edge, ways, labels) {
    const g = this.graph, s = this.size, down = this.down;
    const from = g.nodes[edge.from], to = g.nodes[edge.to];
    const places = [[from.layer, from.row], ...(edge.via || []).map((row, i) => [from.layer + 1 + i, row]), [to.layer, to.row]];
    const points = [];
    places.forEach(([layer, row], i) => {
      const p = this.at(layer, row);
      const first = down ? { x: p.x + s.w / 2, y: p.y } : { x: p.x, y: p.y + s.h / 2 };
      const last = down ? { x: first.x, y: p.y + s.h } : { x: p.x + s.w, y: first.y };
      if (i > 0) points.push(first);
      if (i < places.length - 1) points.push(last);
    });
    let d = `M${points[0].x},${points[0].y}`;
    for (let i = 1; i < points.length; i++) {
      const a = points[i - 1], b = points[i];
      if (i % 2 === 0) d += ` L${b.x},${b.y}`; // past a layer
      else if (!down && b.x < a.x) d += this.fold(a, b, places[(i - 1) / 2][0], edge);
      else {
        const m = down ? (a.y + b.y) / 2 : (a.x + b.x) / 2;
        d += down ? ` C${a.x},${m} ${b.x},${m} ${b.x},${b.y}` : ` C${m},${a.y} ${m},${b.y} ${b.x},${b.y}`;
      }
    }
    ways.append(svg("path", { class: "edge " + edge.kind, d }));
    if (edge.kind !== "records") return null;
    const stream = svg("path", { class: "stream", d });
    ways.append(stream);
    const a = points[points.length - 2], b = points[points.length - 1];
    const joins = g.edges.filter((e) => e.to === edge.to && e.kind === "records").length > 1; // then figures keep apart before they meet
    const on = between(a, b, joins ? .25 : .5, down);
    // A figure stands on its way; beside it where that is straight; and where the way comes
    // back for the next band, above the node that it leads to.
    const label = !down && b.x < a.x ? svg("text", { class: "rate beside", x: b.x - 4, y: b.y - s.h / 2 - 6 })
      : down ? svg("text", { class: "rate beside", x: on.x + 8, y: on.y + 4 })
        : svg("text", { class: "rate", x: on.x, y: on.y - (Math.abs(a.y - b.y) < 8 ? 7 : -4) });
    labels.append(label);
    return { stream, label, of: edge };
  }

  // fold leads from the end of a band between the two to the begin of the next.
  fold(a, b, layer, edge) {
    const below = (Math.floor(layer / this.perBand) + 1) * this.bandHeight - 22 + 4 * (edge.from % 3);
    const out = a.x + LANE / 2, back = b.x - LANE / 2, r = 6;
    return ` H${out - r} q${r},0 ${r},${r} V${below - r} q0,${r} ${-r},${r} H${back + r} q${-r},0 ${-r},${r} V${b.y - r} q0,${r} ${r},${r} H${b.x}`;
  }

  // update shows a run's figures.
  update(run) {
    this.latest = run;
    if (!this.nodes) return;
    this.edges.forEach((e, i) => {
      if (!e) return;
      const rate = run.edges[i] ?? null;
      e.stream.setAttribute("class", "stream" + (rate > 0 ? " on" : "") + (rate >= 1000 ? " fast" : ""));
      set(e.label, (e.of.branch ? "#" + e.of.branch + ": " : "") + (rate === null ? "" : perSecond(rate)));
    });
    this.nodes.forEach((n, i) => this.updateNode(n, run.stages[i], run));
    if (this.letters) {
      const total = run.totals.deadLetters, recent = run.stages.some((s) => s.recent > 0 && s.deadLetters > 0);
      set(this.letters.rate, total === 0 ? "none" : count(total));
      set(this.letters.badge, recent ? "▲ new" : "");
      this.letters.e.classList.toggle("trouble", recent);
      set(this.letters.title, `${this.graph.deadLetter}: ${total} dead letters`);
      this.drains.forEach((way, i) => way.setAttribute("visibility", run.stages[i].deadLetters > 0 ? "visible" : "hidden"));
    }
  }

  updateNode(n, s, run) {
    const kind = n.of.kind, table = kind === "table" && run.tables.find((t) => n.of.topics.includes(t.topic));
    const flow = kind === "input" ? s.out : s.in;
    set(n.rate, table ? count(table.entries) + " entries" : flow === null ? "–" : perSecond(flow) + "/s");
    set(n.time, s.time.p99 === null ? "" : "p99 " + duration(s.time.p99));
    const errors = s.deadLetters + s.skipped;
    let badge = "";
    if (s.waiting > 0) badge = "‖ waits";
    else if (errors > 0) badge = "▲ " + short(errors);
    else if (s.lag > 0) badge = "lag " + short(s.lag);
    else if (table && table.lag > 0) badge = "lag " + short(table.lag);
    set(n.badge, badge);
    n.badge.setAttribute("class", badge.startsWith("lag") ? "badge calm" : "badge");
    n.e.classList.toggle("trouble", s.waiting > 0 || s.recent > 0);
    const lines = [`${n.of.kind} ${n.of.name}`];
    if (n.of.topics && n.of.topics.join() !== n.of.name) lines.push("topics: " + n.of.topics.join(", "));
    if (n.of.policy && !table) lines.push("on error: " + n.of.policy);
    if (errors > 0) lines.push(`${s.deadLetters} dead letters, ${s.skipped} skipped`);
    if (n.of.retryTopics) lines.push("retry topics: " + n.of.retryTopics.join(", "));
    if (s.retriedLater > 0) lines.push(`${s.retriedLater} retried later`);
    if (s.dropped > 0) lines.push(`${s.dropped} dropped`);
    if (s.waiting > 0) lines.push(`${s.waiting} partitions wait here`);
    set(n.title, lines.join("\n"));
  }
}
