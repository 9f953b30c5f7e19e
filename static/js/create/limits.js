// The three limits that matter at first, and all the others folded away.

import { h } from "../dom.js";
import { parseLimit } from "../lib/units.js";
import { rangeBox } from "../range_box.js";

const FIRST = { cpu: 0.5, memory: 64 * 2 ** 20, pids: 50 };
const SLIDERS = new Set(["size", "share", "count", "weight"]);

export class LimitFields {
  #values = { ...FIRST };
  #controls = new Map();

  constructor(table, host, touched) {
    this.touched = touched;
    const maximum = { cpu: host.cpus, memory: host.memory_total, memory_high: host.memory_total, memory_low: host.memory_total, pids: 4096 };
    const row = (limit) => this.#row(limit, maximum[limit.name]);
    const shown = table.filter((limit) => SLIDERS.has(limit.kind) || limit.kind === "cpuset");
    this.element = h("fieldset", { class: "stack" }, h("legend", null, "Limits"), shown.filter((limit) => limit.name in FIRST).map(row),
      h("details", { class: "stack" }, h("summary", { class: "quiet" }, "More limits"), h("div", { class: "stack more" }, shown.filter((limit) => !(limit.name in FIRST)).map(row))));
  }

  #row(limit, maximum) {
    const take = (value) => { this.#values[limit.name] = value; this.touched(); };
    const testid = `create-limit-${limit.name}`;
    if (limit.kind === "cpuset") {
      const box = h("input", { type: "text", class: "span", "aria-label": limit.label, placeholder: "all CPUs, or 0-1,3", spellcheck: "false", "data-testid": testid });
      box.addEventListener("change", () => {
        const value = parseLimit("cpuset", box.value);
        box.setAttribute("aria-invalid", value === undefined);
        if (value !== undefined) take(value);
      });
      this.#controls.set(limit.name, { show: (value) => { box.value = value ?? ""; } });
      return h("div", { class: "mini-limit" }, h("span", { title: limit.help }, limit.label), box);
    }
    const control = rangeBox(limit, { maximum, testid, onInput: take });
    control.show(this.#values[limit.name] ?? null);
    this.#controls.set(limit.name, control);
    return h("div", { class: "mini-limit" }, h("span", { "aria-hidden": "true", title: limit.help }, limit.label), control.slider, control.box);
  }

  /** limits of a template: numbers, or text with a unit */
  show(limits = {}) {
    for (const [name, control] of this.#controls) {
      const value = limits[name] ?? null;
      this.#values[name] = value;
      control.show(typeof value === "string" && name !== "cpuset" ? parseLimit(name === "cpu" ? "share" : name.includes("pids") ? "count" : "size", value) ?? null : value);
    }
    this.#values = { ...limits };
  }

  read(body) {
    body.limits = Object.fromEntries(Object.entries(this.#values).filter(([, value]) => value != null));
  }
}
