// A chart of the last five minutes: a line, its limit as a dashed one, the value under the pointer.

import { h, setAttribute, setText, svg } from "../dom.js";
import { clock } from "../lib/format.js";
import { linePath, niceTop } from "../lib/history.js";

const WIDTH = 600;
const HEIGHT = 96;
const NEAR = 0.6; // of the limit, from which the limit sets the scale: below, a small line would lie flat
const BINARY = 1024;

class TimeChart extends HTMLElement {
  values = [];

  /** spec: {name, second?, label, unit, limit?, format, floor, binary?} */
  build(spec) {
    this.spec = spec;
    this.line = svg("path", { class: "line" });
    this.area = svg("path", { class: "area" });
    this.second = svg("path", { class: "line second" });
    this.limit = svg("path", { class: "limit" });
    this.now = h("b", { "data-testid": `chart-${spec.name}` }, "–");
    this.top = h("span", { class: "top" });
    this.cursor = h("i", { class: "cursor", hidden: true });
    this.plot = h("div", { class: "plot" }, svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.area, this.line, this.second, this.limit), this.top, this.cursor);
    this.unit = h("span", { class: "faint small clip", "data-testid": `chart-${spec.name}-unit` }, spec.unit);
    this.caption = h("figcaption", null, h("span", { class: "label" }, spec.label), this.now, this.unit);
    this.append(h("figure", { class: "panel-box" }, this.caption, this.plot, h("div", { class: "axis", "aria-hidden": "true" }, h("span", null, "5 min ago"), h("span", null, "now"))));
    this.plot.addEventListener("pointermove", (event) => this.#point(event));
    this.plot.addEventListener("pointerleave", () => { this.at = null; this.cursor.hidden = true; this.#say(); });
    return this;
  }

  /** A word on whose numbers these are, behind the unit. */
  note(text) {
    setText(this.unit, [this.spec.unit, text].filter(Boolean).join(" · "));
    this.unit.title = text;
  }

  draw(history, stats) {
    const { spec } = this;
    this.values = history[spec.name]?.values ?? [];
    this.others = spec.second ? history[spec.second]?.values ?? [] : [];
    const size = history[spec.name]?.size ?? 300;
    const limit = spec.limit ? stats?.[spec.limit] : null;
    const peak = Math.max(0, ...this.values, ...this.others);
    const unit = spec.binary ? BINARY ** Math.floor(Math.log(Math.max(peak, spec.floor)) / Math.log(BINARY)) : 1;
    const top = limit && peak > limit * NEAR ? Math.max(limit * 1.1, peak) : niceTop((peak / unit) * 1.05, spec.floor / unit) * unit;
    this.latest = stats;
    const path = linePath(this.values, size, WIDTH, HEIGHT, top);
    setAttribute(this.line, "d", path);
    setAttribute(this.second, "d", spec.second ? linePath(this.others, size, WIDTH, HEIGHT, top) : "");
    const whole = path && path.lastIndexOf("M") === 0;
    setAttribute(this.area, "d", whole ? `${path}V${HEIGHT}H${path.slice(1, path.indexOf(" "))}Z` : "");
    const y = limit && limit <= top ? HEIGHT - (limit / top) * HEIGHT : null;
    setAttribute(this.limit, "d", y == null ? "" : `M0 ${y.toFixed(1)}H${WIDTH}`);
    setText(this.top, spec.format(top));
    this.size = size;
    this.#say();
  }

  #point(event) {
    const box = this.plot.getBoundingClientRect();
    const back = Math.round((1 - (event.clientX - box.left) / box.width) * (this.size - 1));
    this.at = this.values.length - 1 - back;
    this.back = back;
    this.cursor.hidden = this.at < 0;
    this.cursor.style.left = `${event.clientX - box.left}px`;
    this.#say();
  }

  #say() {
    const { spec, at } = this;
    const pointed = at != null && at >= 0 && at < this.values.length;
    const index = pointed ? at : this.values.length - 1;
    const limit = spec.limit && !pointed ? this.latest?.[spec.limit] : null;
    const parts = [this.values[index], ...(spec.second ? [this.others[index]] : [])].map(spec.format).join(" · ");
    setText(this.now, `${parts}${limit == null ? "" : ` of ${spec.format(limit)}`}${pointed ? ` at ${clock(Date.now() / 1000 - this.back)}` : ""}`);
  }
}

customElements.define("time-chart", TimeChart);
