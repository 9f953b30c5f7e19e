// A small line of the last samples. `values` is set as a property; nothing is drawn again when nothing changed.

import { setAttribute, svg } from "../dom.js";
import { linePath } from "../lib/history.js";

const WIDTH = 72;
const HEIGHT = 20;
const POINTS = 60; // a minute: what fits a cell and still shows a spike

export class SparkLine extends HTMLElement {
  #line;
  #area;

  connectedCallback() {
    this.#build();
  }

  /** Not in the constructor, where an element may have no children; and a sample may come before the page has it. */
  #build() {
    if (this.#line) return;
    this.#line = svg("path", { class: "line" });
    this.#area = svg("path", { class: "area" });
    this.append(svg("svg", { viewBox: `0 -1 ${WIDTH} ${HEIGHT + 2}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.#area, this.#line));
  }

  /** top: value at the upper edge; at least the largest sample is shown whole */
  draw(values, top) {
    this.#build();
    const shown = values.slice(-POINTS);
    const peak = shown.reduce((most, value) => (value > most ? value : most), 0);
    const path = linePath(shown, POINTS, WIDTH, HEIGHT, Math.max(peak, top) || 1);
    setAttribute(this.#line, "d", path);
    const start = path.indexOf("M") === path.lastIndexOf("M") && path ? path.slice(1, path.indexOf(" ")) : null;
    setAttribute(this.#area, "d", start === null ? "" : `${path}V${HEIGHT}H${start}Z`);
  }
}

customElements.define("spark-line", SparkLine);
