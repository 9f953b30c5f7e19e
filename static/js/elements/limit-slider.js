// One limit: slider, box, what is in use on the same track, and the three values side by side.
// Fires "limit" {name, value} while it is moved; show() takes what the kernel answered.

import { h, icon, setAttribute, setText } from "../dom.js";
import { STEPS } from "../lib/scale.js";
import { limitText, parseLimit } from "../lib/units.js";
import { limitWords, rangeBox } from "../range_box.js";

const SETTLED = 1500; // ms after the last move from which the next one is a new change, with its own undo

class LimitSlider extends HTMLElement {
  #before;
  #moved = -Infinity;
  #reading = null;

  /** row of the table of limits, its present reading */
  build(row, reading) {
    this.row = row;
    this.dataset.name = row.name;
    const testid = `limit-${row.name}`;
    this.values = Object.fromEntries(["requested", "kernel", "effective"].map((name) => [name, h("b", { "data-testid": `${testid}-${name}` })]));
    this.use = h("i", { class: "use" });
    this.tick = h("i", { class: "tick", title: "Effective: the tightest limit above it", hidden: true });
    this.lock = h("p", { class: "lock hint", hidden: true, "data-testid": `${testid}-locked` }, icon("lock"), h("span"));
    this.undo = h("button", { type: "button", class: "tiny square", disabled: true, title: "Undo", "aria-label": `Undo the change of ${row.label}`, "data-testid": `${testid}-undo`, on: { click: () => this.#set(this.#before, true) } }, icon("undo"));
    this.clear = h("button", { type: "button", class: "tiny", title: "No limit", "aria-label": `Clear ${row.label}`, "data-testid": `${testid}-clear`, on: { click: () => this.#set(null) } }, "Clear");
    this.usage = h("span", { class: "faint" });
    if (row.kind === "cpuset") this.#buildText(testid);
    else this.control = rangeBox(row, { maximum: reading?.maximum, testid, onInput: (value) => this.#send(value) });
    const track = row.kind === "cpuset" ? h("div", { class: "rail" }) : h("div", { class: "rail" }, h("span", { class: "used" }, this.use), this.tick, this.control.slider);
    this.append(
      h("div", { class: "title" }, h("h3", null, row.label), h("p", { class: "hint" }, row.help)),
      h("div", { class: "control" }, track, this.control.box, this.clear, this.undo),
      h("p", { class: "truth" }, "requested ", this.values.requested, " · kernel ", this.values.kernel, " · effective ", this.values.effective, this.usage),
      this.lock);
    this.show(reading);
    return this;
  }

  #buildText(testid) {
    const box = h("input", { type: "text", "aria-label": this.row.label, placeholder: "all CPUs", spellcheck: "false", "data-testid": testid });
    let current = null;
    box.addEventListener("change", () => {
      const value = parseLimit("cpuset", box.value);
      setAttribute(box, "aria-invalid", value === undefined ? "true" : null);
      if (value !== undefined && value !== current) this.#send(value);
    });
    this.control = { box, slider: box, show: (value) => { current = value; if (document.activeElement !== box) box.value = limitText("cpuset", value); } };
  }

  #send(value) {
    const now = performance.now();
    if (now - this.#moved > SETTLED) this.#before = this.#reading?.requested ?? null;
    this.#moved = now;
    this.undo.disabled = false;
    this.dispatchEvent(new CustomEvent("limit", { bubbles: true, detail: { name: this.row.name, value } }));
  }

  #set(value, isUndo = false) {
    this.control.show(value);
    this.#send(value);
    if (isUndo) this.undo.disabled = true;
    this.#moved = -Infinity;
  }

  /** moving: the reader is ahead of this answer, so the thumb stays where they hold it */
  show(reading, { moving = false } = {}) {
    this.#reading = reading ?? null;
    const words = (name) => (name === "requested" && reading[name] == null ? "nothing" : limitWords(this.row.kind, reading[name]));
    for (const [name, element] of Object.entries(this.values)) setText(element, reading ? words(name) : "–");
    const locked = reading ? reading.locked : "This host or engine does not offer it.";
    setAttribute(this, "data-locked", locked ? "true" : null);
    this.lock.hidden = !locked;
    setText(this.lock.lastChild, locked ?? "");
    for (const control of [this.control.slider, this.control.box, this.clear]) control.disabled = Boolean(locked);
    if (!moving) this.control.show(reading?.requested ?? reading?.kernel ?? null);
    const { scale } = this.control;
    this.tick.hidden = !scale || typeof reading?.effective !== "number" || reading.effective > scale.high;
    if (!this.tick.hidden) this.tick.style.left = `calc(7px + (100% - 16px) * ${scale.toPosition(reading.effective) / STEPS})`;
  }

  /** what is in use now, in the limit's own unit */
  showUse(value) {
    const { scale } = this.control;
    if (value == null || !scale) return;
    this.use.style.transform = `scaleX(${value < scale.low ? 0.004 : scale.toPosition(value) / STEPS})`;
    setText(this.usage, ` · in use ${limitWords(this.row.kind, value)}`);
  }

  /** the API refused: back to what is so, with its own words below */
  refuse(error) {
    this.show(this.#reading);
    this.control.box.setAttribute("aria-invalid", "true");
    setText(this.usage, ` · ${error.message}`);
  }
}

customElements.define("limit-slider", LimitSlider);
