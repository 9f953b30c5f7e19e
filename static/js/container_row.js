// One row of the list of containers. Its nodes stay; only texts and attributes that differ are written.

import "./elements/spark-line.js";
import { ACTIONS, available, containerUrl } from "./actions.js";
import { dotState, driftMark, ending, showDrift } from "./container_state.js";
import { h, icon, setAttribute, setText } from "./dom.js";
import { living, marksOf } from "./lib/container_facts.js";
import * as format from "./lib/format.js";
import { NAMESPACE_TYPES, isolationOf, isolationText } from "./lib/sharing.js";
import { store } from "./store.js";

function levelOf(used, limit) {
  if (used == null || !limit) return null;
  return used / limit > 0.95 ? "bad" : used / limit > 0.8 ? "warn" : null;
}

export function track() {
  const fill = h("i");
  const element = h("span", { class: "track", "aria-hidden": "true" }, fill);
  return {
    element,
    set(used, limit, fallback) {
      const whole = limit ?? fallback;
      const share = used == null || !whole ? 0 : Math.min(used / whole, 1);
      const transform = `scaleX(${share.toFixed(3)})`;
      if (fill.style.transform !== transform) fill.style.transform = transform;
      setAttribute(element, "data-level", levelOf(used, limit));
    },
  };
}

export class ContainerRow {
  constructor(container) {
    this.box = h("input", { type: "checkbox", class: "pick", tabindex: "-1", "aria-label": `Select ${container.name}`, "data-testid": "row-select" });
    this.dot = h("i", { class: "dot", role: "img" });
    this.link = h("a", { class: "clip", tabindex: "-1" });
    this.drift = driftMark();
    this.marks = h("span", { class: "marks" });
    this.engine = h("span", { class: "badge" });
    this.image = h("span", { class: "clip quiet", "data-testid": "image" });
    this.spark = document.createElement("spark-line");
    this.cpu = h("span", { class: "num", "data-testid": "cpu" }, format.UNKNOWN);
    this.memory = h("span", { class: "num", "data-testid": "memory" }, format.UNKNOWN);
    this.track = track();
    this.pids = h("span", { class: "num", "data-testid": "pids" }, format.UNKNOWN);
    this.reason = h("span", { class: "clip quiet", "data-testid": "reason" });
    this.strip = h("span", { class: "strip", role: "img" }, NAMESPACE_TYPES.map((type) => h("i", { "data-ns": type })));
    this.shared = h("span", { class: "badge", hidden: true }, icon("link"), h("span"));
    this.actions = h("div", { role: "gridcell", class: "acts" });
    const cell = (name, ...children) => h("div", { role: "gridcell", class: name }, children);
    this.numbers = [cell("c-cpu", this.spark, this.cpu), cell("c-mem", this.memory, this.track.element), cell("c-pids", this.pids)];
    this.ended = cell("c-end", this.reason);
    this.element = h("div", { role: "row", class: "crow", tabindex: "-1", "data-testid": "container-row", dataset: { id: container.id } },
      cell("c-name", this.box, this.dot, this.link, this.drift, this.marks), cell("c-engine", this.engine), cell("c-image", this.image), this.numbers, this.ended,
      cell("c-ns", this.strip, this.shared), this.actions);
    this.update(container);
  }

  update(container) {
    this.container = container;
    const { element } = this;
    const marks = marksOf(container);
    const shape = JSON.stringify([container.name, container.state, container.exit_code, container.reason, container.engine, container.image, container.stale, marks]);
    if (shape !== this.shape) {
      this.shape = shape;
      element.dataset.name = container.name;
      element.dataset.state = container.state;
      setAttribute(element, "data-stale", container.stale ? "true" : null);
      element.title = container.stale ? "As last seen: its engine does not answer." : "";
      this.marks.replaceChildren(...marks.map((mark) => h("i", { class: "mark", role: "img", "aria-label": mark.text, title: mark.text, "data-mark": mark.kind }, mark.icon ? icon(mark.icon) : null)));
      setAttribute(this.dot, "data-state", dotState(container));
      setAttribute(this.dot, "aria-label", container.state);
      this.dot.title = container.state;
      this.link.href = containerUrl(container.id);
      setText(this.link, container.name);
      this.link.title = container.name;
      setAttribute(this.engine, "data-engine", container.engine);
      setText(this.engine, container.engine);
      setText(this.image, container.image);
      this.image.title = [container.image, ...(container.command ?? [])].join(" ");
      const alive = living(container);
      for (const node of this.numbers) node.hidden = !alive;
      this.ended.hidden = alive;
      this.#drawActions(container);
    }
    if (!living(container)) setText(this.reason, ending(container));
    showDrift(this.drift, container);
    this.updateStats();
  }

  select(selected) {
    if (this.box.checked !== selected) this.box.checked = selected;
    setAttribute(this.element, "aria-selected", selected ? "true" : null);
  }

  /** It follows from all containers, so it is not part of update(). */
  updateIsolation() {
    const parts = isolationOf(this.container, store.groups);
    const text = living(this.container) ? isolationText(parts) || "Namespaces are not known" : "No processes, no namespaces";
    if (this.isolation === text) return;
    this.isolation = text;
    parts.forEach((part, index) => setAttribute(this.strip.children[index], "data-kind", living(this.container) ? part.kind : "unknown"));
    setAttribute(this.strip, "aria-label", text);
    this.strip.title = text;
    const shared = parts.filter((part) => part.kind === "shared");
    this.shared.hidden = !shared.length || !living(this.container);
    setText(this.shared.lastChild, shared.map((part) => part.type).join(" "));
    this.shared.title = text;
  }

  updateStats() {
    const stats = store.stats.get(this.container.id);
    if (!living(this.container)) return;
    const history = store.history(this.container.id).cpu;
    if (history) this.spark.draw(history.values, stats?.cpu_limit ?? 0.1);
    setText(this.cpu, format.coresOf(stats?.cpu, stats?.cpu_limit));
    setText(this.memory, format.bytesOf(stats?.memory, stats?.memory_limit));
    this.track.set(stats?.memory, stats?.memory_limit, store.host?.memory_total);
    setText(this.pids, stats ? format.countOf(stats.pids, stats.pids_limit) : format.UNKNOWN);
  }

  #drawActions(container) {
    const names = available(container);
    const quick = ["terminal", "pause", "resume", "start", "stop"].filter((name) => names.includes(name));
    if (!living(container)) quick.push("remove");
    const button = (name, text, symbol, extra) => h("button", { type: "button", class: "tiny square bare", tabindex: "-1", title: text, "aria-label": `${text} ${container.name}`, dataset: { act: name }, "data-testid": `row-${name}`, ...extra }, icon(symbol));
    this.actions.replaceChildren(
      ...quick.map((name) => button(name, ACTIONS[name].label, ACTIONS[name].icon)),
      button("more", "More actions for", "more", { "aria-haspopup": "menu", title: "More" }));
  }
}
