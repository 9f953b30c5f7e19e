// The page of namespaces: the graph or its table, a filter, what is pinned.

import { containerUrl } from "../actions.js";
import { api } from "../api.js";
import { emptyState, h, icon, pageData, setText } from "../dom.js";
import { toastError } from "../feedback.js";
import { plural } from "../lib/format.js";
import { parseQuery } from "../lib/query.js";
import { NAMESPACE_LABELS } from "../lib/sharing.js";
import { debounce } from "../lib/timing.js";
import { listen, store } from "../store.js";
import { graphTable } from "./namespace-graph.js";

const REFRESH_AFTER = 300; // ms after a container changed: several mostly change together
const TYPED = 120;

class NamespacePage extends HTMLElement {
  #abort = new AbortController();
  #options = { showInitial: true, showOthers: false };
  #view = location.hash === "#table" ? "table" : "graph";

  connectedCallback() {
    this.graph = pageData().graph ?? { nodes: [], edges: [] };
    const toggle = (label, testid, title, run) => h("button", { type: "button", "data-testid": testid, title, on: { click: run } }, label);
    this.sub = h("span", { class: "sub", "data-testid": "graph-count" });
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the containers", placeholder: "name, engine:raw, state:running", value: new URLSearchParams(location.search).get("q") ?? "", spellcheck: "false" });
    this.initial = toggle("Host's own", "toggle-initial", "Show or hide the host's own namespaces (h)", () => this.#flip("showInitial"));
    this.others = toggle("Other processes", "toggle-others", "Namespaces that belong to no container", () => this.#flip("showOthers"));
    this.asGraph = toggle("Graph", "view-graph", "Graph (g)", () => this.#show("graph"));
    this.asTable = toggle("Table", "view-table", "Table (t)", () => this.#show("table"));
    this.drawing = document.createElement("namespace-graph");
    this.frame = h("div", { class: "graph-frame panel-box scroll" }, this.drawing);
    this.rest = h("div");
    this.detail = h("aside", { class: "graph-detail panel-box", hidden: true, "aria-label": "Pinned", "data-testid": "graph-detail" });
    this.legend = h("ul", { class: "legend small quiet" }, [["private", "its own"], ["shared", "shared"], ["initial", "the host's"]].map(([kind, text]) => h("li", null, h("i", { "data-kind": kind }), text)));
    this.append(h("div", { class: "page-head" }, h("h1", null, "Namespaces"), this.sub,
      h("div", { class: "tools" }, this.legend, h("div", { class: "filter" }, icon("search"), this.search), this.initial, this.others, h("div", { class: "segmented", role: "group", "aria-label": "View" }, this.asGraph, this.asTable))),
    h("div", { class: "graph-area" }, this.frame, this.rest, this.detail));
    this.drawing.addEventListener("pin", ({ detail }) => this.#detail(detail));
    this.#listen();
    this.#draw();
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  #listen() {
    const { signal } = this.#abort;
    const refresh = debounce(() => this.#refresh(), REFRESH_AFTER);
    listen(signal, "containers", refresh);
    this.search.addEventListener("input", debounce(() => this.#draw(), TYPED));
    this.search.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      this.search.value = "";
      this.#draw();
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, select, textarea") || document.querySelector("dialog[open]")) return;
      if (event.key === "g" || event.key === "t") this.#show(event.key === "g" ? "graph" : "table");
      if (event.key === "h") this.#flip("showInitial");
    }, { signal });
  }

  async #refresh() {
    try {
      this.graph = await api.get("/namespaces");
      this.#draw();
    } catch (error) {
      if (error.status !== 0 && error.status !== 503) toastError(error); // both have their banner already
    }
  }

  #flip(name) {
    this.#options[name] = !this.#options[name];
    this.#draw();
  }

  #show(view) {
    this.#view = view;
    history.replaceState(null, "", view === "table" ? "#table" : location.pathname + location.search);
    this.#draw();
  }

  #draw() {
    const query = parseQuery(this.search.value);
    const matches = (node) => query.matches({ container: { image: "", id: "", ...node, ...store.containers.get(node.container) }, stats: store.stats.get(node.container) });
    const plan = this.drawing.show(this.graph, { ...this.#options, matches });
    const containers = plan.rows.filter((row) => row.node.kind === "container").length;
    const shared = plan.nodes.filter((node) => node.kind === "shared").length;
    setText(this.sub, `${plan.hidden ? `${containers} of ${plural(containers + plan.hidden, "container")}, filtered` : plural(containers, "container")} · ${plural(plan.nodes.length, "namespace")} · ${shared} shared`);
    this.initial.setAttribute("aria-pressed", this.#options.showInitial);
    this.others.setAttribute("aria-pressed", this.#options.showOthers);
    this.asGraph.setAttribute("aria-pressed", this.#view === "graph");
    this.asTable.setAttribute("aria-pressed", this.#view === "table");
    this.frame.hidden = this.#view !== "graph";
    this.rest.replaceChildren();
    if (this.#view === "table") this.rest.append(graphTable(plan, this.graph));
    if (containers === 0) {
      this.rest.append(plan.hidden ? emptyState("search", "Nothing matches the filter", "Only the host's own namespaces are left.")
        : emptyState("namespaces", "Only the host's own namespaces", "Start a sandbox and its private namespaces appear here, inode by inode.", h("a", { class: "button primary", href: "/containers/#new" }, icon("plus"), "New sandbox")));
    }
  }

  #detail(id) {
    const node = this.graph.nodes.find((candidate) => candidate.id === id);
    this.detail.hidden = !node;
    if (!node) return;
    const facts = (rows) => h("dl", { class: "facts" }, rows.filter(([, value]) => value != null && value !== "").map(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
    if (node.kind === "namespace") {
      const members = this.graph.edges.filter((edge) => edge.target === id).map((edge) => this.graph.nodes.find((other) => other.id === edge.source)).filter(Boolean);
      this.detail.replaceChildren(h("header", { "data-ns": node.type }, h("span", { class: "ns-tag" }, icon(`ns-${node.type}`), NAMESPACE_LABELS[node.type]), h("code", null, `${node.type}:[${node.inode}]`), this.#unpin()),
        h("div", { class: "body" }, facts([["Kind", node.initial ? "the host's own" : members.length > 1 ? "shared" : "private"], ["Owner", node.owner?.replace("ns:", "")], ["Parent", node.parent?.replace("ns:", "")], ["Processes", node.processes],
          ["Containers", members.length ? h("span", { class: "inline-list" }, members.map((member) => h("a", { href: containerUrl(member.container, "namespaces") }, member.name))) : "none"]])));
    } else {
      this.detail.replaceChildren(h("header", null, h("b", { class: "clip" }, node.name), node.engine ? h("span", { class: "badge", "data-engine": node.engine }, node.engine) : null, this.#unpin()),
        h("div", { class: "body" }, facts([["State", node.state], ["Pid on the host", node.pid], ["Page", node.container ? h("a", { href: containerUrl(node.container) }, "Open") : null]])));
    }
  }

  #unpin() {
    return h("button", { type: "button", class: "tiny square bare", "aria-label": "Unpin", on: { click: () => this.drawing.querySelector("[aria-pressed=true]")?.dispatchEvent(new MouseEvent("click", { bubbles: true })) } }, icon("close"));
  }
}

customElements.define("namespace-page", NamespacePage);
