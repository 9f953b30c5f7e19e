// The graph as SVG: rows are containers, columns are namespace types, lanes join those who share.
// show({graph, options}) draws; hover dims the rest, click or Enter pins. Fires "pin" with the node or null.

import { h, icon, svg } from "../dom.js";
import { SIZE, layout } from "../lib/graph_layout.js";
import { NAMESPACE_LABELS } from "../lib/sharing.js";

const HEADS = 38; // px

function clipName(name) {
  return name.length > 16 ? `${name.slice(0, 15)}…` : name;
}

class NamespaceGraph extends HTMLElement {
  #pinned = null;
  #parts = new Map(); // id → elements that light up with it
  #links = new Map(); // id → Set of ids related to it
  #focus = null;

  connectedCallback() {
    this.dataset.testid = "graph";
    this.addEventListener("pointerover", (event) => this.#pinned || this.#light(event.target.closest("[data-node]")?.dataset.node));
    this.addEventListener("pointerleave", () => this.#pinned || this.#light(null));
    this.addEventListener("click", (event) => this.#pin(event.target.closest("[data-node]")?.dataset.node ?? null));
    this.addEventListener("focusin", (event) => {
      const id = event.target.closest("[data-node]")?.dataset.node;
      if (id) this.#rove(id);
      if (id && !this.#pinned) this.#light(id);
    });
    this.addEventListener("keydown", (event) => this.#key(event));
  }

  show(graph, options) {
    const plan = layout(graph, options);
    this.plan = plan;
    this.#parts.clear();
    this.#links.clear();
    for (const node of plan.nodes) for (const member of node.members) {
      this.#relate(node.node.id, member.id);
      this.#relate(member.id, node.node.id);
    }
    const heads = svg("svg", { class: "heads", width: plan.width, height: HEADS, "aria-hidden": "true" }, plan.columns.map((column) => this.#head(column)));
    const root = svg("svg", { viewBox: `0 0 ${plan.width} ${plan.height}`, width: plan.width, height: plan.height, role: "group", "aria-label": "Containers and their namespaces" },
      plan.columns.map((column) => this.#column(column, plan.height)),
      plan.rows.map((row) => this.#rail(row)), plan.lanes.map((lane) => this.#lane(lane)),
      plan.rows.map((row) => this.#row(row)), plan.nodes.map((node) => this.#node(node)));
    const had = this.contains(document.activeElement);
    this.replaceChildren(heads, root);
    if (this.#pinned && !this.#parts.has(this.#pinned)) this.#pin(null);
    this.#light(this.#pinned);
    const first = this.#focus && this.#parts.has(this.#focus) ? this.#focus : plan.rows[0]?.node.id;
    if (first) this.#rove(first);
    if (had) this.#element(this.#focus)?.focus();
    return plan;
  }

  #relate(a, b) {
    if (!this.#links.has(a)) this.#links.set(a, new Set());
    this.#links.get(a).add(b);
  }

  #part(id, element) {
    if (!this.#parts.has(id)) this.#parts.set(id, []);
    this.#parts.get(id).push(element);
    return element;
  }

  /** The names of the columns stand above the rest and stay when it is scrolled. */
  #head({ type, x }) {
    return svg("g", { class: "head", "data-ns": type, transform: `translate(${x - SIZE.node / 2} 8)` }, svg("title", null, NAMESPACE_LABELS[type]), svg("use", { href: `#i-ns-${type}`, width: 16, height: 16, y: 2 }), svg("text", { x: 22, y: 15 }, type));
  }

  #column({ type, x }, height) {
    return svg("rect", { class: "column", x: x - SIZE.column / 2, y: 0, width: SIZE.column, height, "data-ns": type });
  }

  #rail(row) {
    return this.#part(row.node.id, svg("path", { class: "rail", d: `M${SIZE.left - 20} ${row.y}H${row.end}`, "data-kind": row.node.kind }));
  }

  #lane(lane) {
    const path = `M${lane.nodeX} ${lane.y1}H${lane.x + 4}Q${lane.x} ${lane.y1} ${lane.x} ${lane.y1 + 4}V${lane.y2}`;
    const group = svg("g", { class: `lane${lane.initial ? " initial" : ""}`, "data-ns": lane.type }, svg("path", { d: path }), lane.dots.map((dot) => this.#part(`${lane.id}@${dot.row}`, svg("circle", { cx: lane.x, cy: dot.y, r: 3.5 }))));
    return this.#part(lane.id, group);
  }

  #row({ node, y }) {
    const state = node.state ? ` ${node.state}` : "";
    const group = svg("g", { class: `who ${node.kind}`, transform: `translate(4 ${y - SIZE.height / 2})`, role: "button", tabindex: "-1", "aria-pressed": "false", "aria-label": `${node.kind === "container" ? `${node.engine} container` : ""} ${node.name}${state}`, "data-node": node.id, "data-testid": node.kind === "container" ? "container-node" : null, "data-container": node.container },
      svg("title", null, `${node.name}${node.pid ? ` · pid ${node.pid}` : ""}${state}`),
      svg("rect", { width: SIZE.left - 24, height: SIZE.height, rx: 5 }),
      svg("circle", { class: "state", cx: 12, cy: SIZE.height / 2, r: 4, "data-state": node.state ?? "host" }),
      svg("text", { x: 24, y: 16 }, clipName(node.name || "")));
    if (node.kind === "other") group.removeAttribute("role");
    return this.#part(node.id, group);
  }

  #node({ node, type, x, y, kind, members }) {
    const said = { initial: "the host's", shared: `shared by ${members.map((member) => member.name).join(", ")}`, private: `of ${members[0]?.name}` }[kind];
    const group = svg("g", { class: `ns ${kind}`, "data-ns": type, "data-node": node.id, "data-testid": "ns-node", "data-inode": node.inode, "data-type": type, transform: `translate(${x - SIZE.node / 2} ${y - SIZE.height / 2})`, role: "button", tabindex: "-1", "aria-pressed": "false", "aria-label": `${NAMESPACE_LABELS[type]} namespace ${node.inode}${members.length > 1 ? ` ×${members.length}` : ""}, ${said}` },
      svg("title", null, `${type}:[${node.inode}] ${said}`),
      svg("rect", { width: SIZE.node, height: SIZE.height, rx: 5 }),
      svg("text", { x: 7, y: 16 }, node.inode),
      members.length > 1 ? svg("text", { class: "count", x: SIZE.node - 5, y: 16, "text-anchor": "end" }, `×${members.length}`) : null);
    return this.#part(node.id, group);
  }

  #element(id) {
    return this.querySelector(`[data-node="${CSS.escape(id ?? "")}"]`);
  }

  #light(id) {
    this.classList.toggle("focused", Boolean(id));
    for (const element of this.querySelectorAll(".lit")) element.classList.remove("lit");
    if (!id) return;
    const related = new Set([id, ...(this.#links.get(id) ?? [])]);
    const container = this.plan.rows.some((row) => row.node.id === id);
    for (const other of related) {
      for (const element of this.#parts.get(other) ?? []) element.classList.add("lit");
      const [namespace, row] = container ? [other, id] : [id, other];
      for (const element of this.#parts.get(`${namespace}@${row}`) ?? []) element.classList.add("lit");
    }
  }

  #pin(id) {
    this.#element(this.#pinned)?.setAttribute("aria-pressed", "false");
    this.#pinned = id === this.#pinned ? null : id;
    this.#element(this.#pinned)?.setAttribute("aria-pressed", "true");
    this.#light(this.#pinned);
    this.dispatchEvent(new CustomEvent("pin", { detail: this.#pinned }));
  }

  #rove(id) {
    this.#element(this.#focus)?.setAttribute("tabindex", "-1");
    this.#focus = id;
    this.#element(id)?.setAttribute("tabindex", "0");
  }

  /** Arrow keys: to the nearest node in that direction, rows first. */
  #key(event) {
    if (event.key === "Enter" || event.key === " ") this.#pin(this.#focus);
    else if (event.key === "Escape" && this.#pinned) this.#pin(null);
    else if (event.key.startsWith("Arrow")) this.#step(event.key);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #step(key) {
    const places = [...this.plan.rows.map((row) => ({ id: row.node.id, x: 0, y: row.y })), ...this.plan.nodes.map((node) => ({ id: node.node.id, x: node.x, y: node.y }))];
    const here = places.find((place) => place.id === this.#focus);
    if (!here) return;
    const along = { ArrowRight: (p) => p.x - here.x, ArrowLeft: (p) => here.x - p.x, ArrowDown: (p) => p.y - here.y, ArrowUp: (p) => here.y - p.y }[key];
    const across = (place) => Math.abs(key === "ArrowRight" || key === "ArrowLeft" ? place.y - here.y : place.x - here.x);
    const next = places.filter((place) => along(place) > 0).sort((a, b) => across(a) * 20 + along(a) - (across(b) * 20 + along(b)))[0];
    this.#element(next?.id)?.focus();
  }
}

customElements.define("namespace-graph", NamespaceGraph);

/** The twin for those who read tables: the same graph, a row for each container. */
export function graphTable(plan, graph) {
  const types = plan.columns.map((column) => column.type);
  const targets = new Map(graph.nodes.map((node) => [node.id, node]));
  const members = new Map(plan.nodes.map((node) => [node.node.id, node.members.length]));
  const cell = (row, type) => {
    const edge = graph.edges.find((candidate) => candidate.source === row.node.id && candidate.type === type);
    const node = edge ? targets.get(edge.target) : row.node.kind === "host" ? graph.nodes.find((candidate) => candidate.initial && candidate.type === type) : null;
    if (!node) return h("td", { class: "faint" }, "–");
    const kind = node.initial ? "host" : members.get(node.id) > 1 ? "shared" : "";
    return h("td", { "data-ns": type, class: "mono nowrap" }, h("span", { class: "ns-tag", "data-testid": "ns-cell", "data-inode": node.inode, "data-type": type }, node.inode), kind ? h("span", { class: "small quiet" }, ` ${kind}`) : null);
  };
  return h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": "Namespaces as a table", "data-testid": "graph-table" }, h("table", null,
    h("thead", null, h("tr", null, h("th", { scope: "col" }, "Container"), types.map((type) => h("th", { scope: "col", "data-ns": type }, h("span", { class: "ns-tag" }, icon(`ns-${type}`), type))))),
    h("tbody", null, plan.rows.filter((row) => row.node.kind !== "other").map((row) => h("tr", null, h("th", { scope: "row" }, row.node.kind === "container" ? h("a", { href: `/containers/${encodeURIComponent(row.node.container)}/namespaces/` }, row.node.name) : row.node.name), types.map((type) => cell(row, type)))))));
}
