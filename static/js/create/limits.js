// The three limits that matter at first, all the others folded away, and a group whose budget it shares.

import { h, icon } from "../dom.js";
import { dialsOf, isAside, withChange } from "../lib/limits.js";
import { limitText, parseLimit } from "../lib/units.js";
import { rangeBox } from "../range_box.js";
import { check, field } from "./fields.js";

const FIRST = { cpu: 0.5, memory: 64 * 2 ** 20, pids: 50 };
const UNRECORDED = ["memory_high", "io_weight", "hugetlb", "net_in", "net_out"]; // Docker's own record has no words for them
const isSet = ([, value]) => value != null && (typeof value !== "object" || Object.keys(value).length > 0);

export class LimitFields {
  #values = { ...FIRST };
  #controls = []; // [{dial, control}]

  /** host: limit → {maximum, locked, parts} on this host; groups: that may be joined */
  constructor(table, { host, groups }, touched) {
    this.touched = touched;
    this.keep = check("keep_limits", "All limits come back after a restart", true);
    this.keep.element.title = "Also those that Docker's own record has no words for: network rates, huge pages, soft memory limits and disk weights";
    const rows = (chosen) => chosen.flatMap((limit) => dialsOf(limit, host[limit.name]).filter((dial) => !isAside(dial)).map((dial) => this.#row(dial, host[limit.name]?.locked)));
    this.group = h("select", { name: "group", "data-testid": "create-group" }, h("option", { value: "" }, "none, its limits are its own"), groups.map(({ name }) => h("option", { value: name }, name)));
    this.groupField = field("Group whose budget it shares", this.group);
    this.groupField.hidden = !groups.length;
    this.element = h("fieldset", { class: "stack" }, h("legend", null, "Limits"), rows(table.filter((limit) => limit.name in FIRST)),
      h("details", { class: "stack" }, h("summary", { class: "quiet" }, "More limits"), h("div", { class: "stack more" }, this.groupField, rows(table.filter((limit) => !(limit.name in FIRST))), this.keep.element)));
  }

  engineChanged(engine) {
    this.engine = engine;
    this.#offerKeep();
  }

  /** Where it makes a difference: a sandbox always starts with its limits. */
  #offerKeep() {
    this.keep.element.hidden = this.engine === "raw" || !UNRECORDED.some((name) => name in this.#set);
  }

  /** limit → its value, of those that have one */
  get #set() {
    const plain = Object.entries(this.#values).map(([name, value]) => [name, value !== null && typeof value === "object" ? Object.fromEntries(Object.entries(value).filter(isSet)) : value]);
    return Object.fromEntries(plain.filter(isSet));
  }

  #row(dial, locked) {
    const take = (value) => {
      this.#values = withChange(this.#values, { ...dial, value });
      this.#offerKeep();
      this.touched();
    };
    const testid = `create-limit-${dial.key}`;
    const control = dial.kind === "cpuset" ? this.#text(dial, testid, take) : rangeBox(dial, { testid, onInput: take });
    control.show(this.#values[dial.name] ?? null);
    this.#controls.push({ dial, control });
    for (const part of [control.slider, control.box]) if (part) part.disabled = Boolean(locked);
    return h("div", { class: "mini-limit" }, h("span", { "aria-hidden": "true", title: dial.help }, dial.label), control.slider, control.box, locked ? h("p", { class: "hint span row" }, icon("lock"), locked) : null);
  }

  #text(dial, testid, take) {
    const box = h("input", { type: "text", class: "span", "aria-label": dial.label, placeholder: "all CPUs, or 0-1,3", spellcheck: "false", "data-testid": testid });
    box.addEventListener("change", () => {
      const value = parseLimit(dial, box.value);
      box.setAttribute("aria-invalid", value === undefined);
      if (value !== undefined) take(value);
    });
    return { box, slider: null, show: (value) => { box.value = limitText(dial, value); box.removeAttribute("aria-invalid"); } };
  }

  /** a template or another sandbox's description: its limits are numbers, or text with a unit */
  show({ limits = {}, group = "", keep_limits: keep = true }) {
    for (const { dial, control } of this.#controls) {
      const value = (dial.part ? limits[dial.name]?.[dial.part] : limits[dial.name]) ?? null;
      control.show(typeof value === "string" ? parseLimit(dial, value) ?? null : value);
    }
    this.#values = { ...limits };
    this.group.value = group;
    this.keep.box.checked = keep;
    this.#offerKeep();
  }

  /** the box whose text is no value of its limit, undefined when there is none */
  get wrong() {
    return this.#controls.map(({ control }) => control.box).find((box) => box.getAttribute("aria-invalid") === "true");
  }

  read(body) {
    body.limits = this.#set;
    if (!this.keep.element.hidden && !this.keep.box.checked) body.keep_limits = false;
    if (this.group.value) body.group = this.group.value;
  }
}
