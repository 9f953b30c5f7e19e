// One dial of a limit: slider, box, what is in use on the same track, the three values, what the limit does, and drift.
// Fires "limit" {name, part, value} while it is moved and "settle" {name, how}; show() takes what the kernel answered.

import { h, icon, setAttribute, setText } from "../dom.js";
import { pressureWords } from "../lib/limit_effects.js";
import { limitWords } from "../lib/limits.js";
import { STEPS } from "../lib/scale.js";
import { limitText, parseLimit } from "../lib/units.js";
import { rangeBox } from "../range_box.js";

const SETTLED = 1500; // ms after the last move from which the next one is a new change, with its own undo
const HELD = 300; // ms after a move in which an answer to an earlier one does not pull the thumb back
const THUMB = 16; // px
let made = 0; // for ids: a page can have several lists

class LimitSlider extends HTMLElement {
  #before;
  #moved = -Infinity;
  #reading = null;
  #held = 0;
  #used = null;
  #peak = null;
  #pressure = null;

  /** dial of lib/limits.js, its present reading */
  build(dial, reading) {
    this.dial = dial;
    this.dataset.name = dial.key;
    const testid = `limit-${dial.key}`;
    const about = `about-limit-${(made += 1)}`;
    this.values = Object.fromEntries(["requested", "kernel", "effective"].map((name) => [name, h("b", { "data-testid": `${testid}-${name}` })]));
    this.use = h("i", { class: "use" });
    this.waiting = h("i", { class: "waiting" });
    this.ticks = { effective: this.#tick("effective", "Effective: the tightest limit above it"), peak: this.#tick("peak", "Most in use in the last five minutes") };
    this.lock = h("p", { class: "lock hint", hidden: true, "data-testid": `${testid}-locked` }, icon("lock"), h("span"));
    this.undo = h("button", { type: "button", class: "tiny square", disabled: true, title: "Undo", "aria-label": `Undo the change of ${dial.label}`, "data-testid": `${testid}-undo`, on: { click: () => this.#set(this.#before, true) } }, icon("undo"));
    this.clear = h("button", { type: "button", class: "tiny", title: "No limit", "aria-label": `Clear ${dial.label}`, "data-testid": `${testid}-clear`, on: { click: () => this.#set(null) } }, "Clear");
    this.usage = h("span", { class: "faint", "data-testid": `${testid}-use` });
    this.effects = h("span", { class: "effects", "data-testid": `${testid}-effects` });
    this.refusal = h("p", { class: "error-text", role: "alert", hidden: true, "data-testid": `${testid}-refused` });
    this.drift = this.#buildDrift(testid);
    const text = dial.kind === "cpuset";
    this.control = text ? this.#buildText(testid) : rangeBox(dial, { testid, onInput: (value) => this.#send(value) });
    this.control.slider.setAttribute("aria-describedby", about);
    const track = h("div", { class: "rail" }, text ? null : [h("span", { class: "used" }, this.use, this.waiting), Object.values(this.ticks), this.control.slider]);
    this.append(
      h("div", { class: "title" }, h("h3", null, dial.label), h("p", { class: "hint" }, dial.help)),
      h("div", { class: "control" }, track, this.control.box, this.clear, this.undo),
      h("p", { class: "truth", id: about }, "requested ", this.values.requested, " · kernel ", this.values.kernel, " · effective ", this.values.effective, this.usage, this.effects),
      this.drift, this.refusal, this.lock);
    this.show(reading);
    return this;
  }

  #tick(name, title) {
    return h("i", { class: `tick ${name}`, title, hidden: true });
  }

  #buildText(testid) {
    const box = h("input", { type: "text", "aria-label": this.dial.label, placeholder: "all CPUs", spellcheck: "false", "data-testid": testid });
    let current = null;
    box.addEventListener("change", () => {
      const value = parseLimit(this.dial, box.value);
      setAttribute(box, "aria-invalid", value === undefined ? "true" : null);
      if (value !== undefined && value !== current) this.#send(value);
    });
    return { box, slider: box, show: (value) => { current = value; if (document.activeElement !== box) box.value = limitText(this.dial, value); } };
  }

  #buildDrift(testid) {
    this.outside = h("span");
    const button = (how, label, title) => h("button", { type: "button", class: "tiny", title, "aria-label": `${label}: ${this.dial.label}`, "data-testid": `${testid}-${how}`, on: { click: () => this.dispatchEvent(new CustomEvent("settle", { bubbles: true, detail: { name: this.dial.name, how } })) } }, label);
    return h("p", { class: "drift", role: "status", hidden: true, "data-testid": `${testid}-drift` }, h("span", { class: "badge warn" }, icon("warning"), "changed outside"), this.outside,
      button("put-back", "Put back", "Give the kernel what was requested"), button("accept", "Accept", "Take the kernel's value as requested"));
  }

  #send(value) {
    const now = performance.now();
    if (now - this.#moved > SETTLED) this.#before = this.#reading?.requested ?? null;
    this.#moved = now;
    this.undo.disabled = false;
    this.refusal.hidden = true;
    const { name, part } = this.dial;
    this.dispatchEvent(new CustomEvent("limit", { bubbles: true, detail: { name, part, value } }));
  }

  #set(value, isUndo = false) {
    this.control.show(value);
    this.#send(value);
    if (isUndo) this.undo.disabled = true;
    this.#moved = -Infinity;
  }

  /** moving: the reader is ahead of this answer, so the thumb stays where they hold it; standing: there is a control group */
  show(reading, { moving = false, standing = true } = {}) {
    this.#reading = reading ?? null;
    const words = (name) => {
      if (name === "requested") return reading[name] == null ? "nothing" : limitWords(this.dial, reading[name]);
      return standing ? limitWords(this.dial, reading[name]) : "not running";
    };
    for (const [name, element] of Object.entries(this.values)) setText(element, reading ? words(name) : "–");
    const locked = reading ? reading.locked : "This host or engine does not offer it.";
    setAttribute(this, "data-locked", locked ? "true" : null);
    this.lock.hidden = !locked;
    setText(this.lock.lastChild, locked ?? "");
    for (const control of [this.control.slider, this.control.box, this.clear]) control.disabled = Boolean(locked);
    this.drift.hidden = !reading?.drift || moving;
    if (!this.drift.hidden) setText(this.outside, `the kernel has ${limitWords(this.dial, reading.kernel)}, requested was ${words("requested")}`);
    this.#place("effective", typeof reading?.effective === "number" && reading.effective <= this.control.scale?.high ? reading.effective : null);
    if (!moving) this.#showThumb();
  }

  #showThumb() {
    clearTimeout(this.#held);
    const wait = HELD - (performance.now() - this.#moved);
    if (wait > 0) this.#held = setTimeout(() => this.#showThumb(), wait);
    else this.control.show(this.#reading?.requested ?? this.#reading?.kernel ?? null);
  }

  #place(name, value) {
    const { scale } = this.control;
    const tick = this.ticks[name];
    tick.hidden = !scale || value == null;
    if (tick.hidden) return;
    const left = `calc(${THUMB / 2 - 1}px + (100% - ${THUMB}px) * ${scale.toPosition(value) / STEPS})`;
    if (tick.dataset.left !== left) tick.style.left = tick.dataset.left = left;
  }

  /** What is in use now, and the most of the last minutes, in the limit's own unit; null is not known. whose: more words */
  showUse(used, peak, whose = "") {
    if (!this.control.scale || (used === this.#used && peak === this.#peak)) return;
    this.whose = whose;
    this.#used = used;
    this.#peak = peak;
    const { scale } = this.control;
    const share = used == null ? 0 : used < scale.low ? 0.004 * (used > 0) : scale.toPosition(used) / STEPS;
    this.use.style.transform = `scaleX(${share})`;
    this.#place("peak", peak);
    this.#say();
  }

  /** effects: [{text, tone}]; pressure in per cent, null where not known */
  showEffects(effects, pressure) {
    if (pressure !== this.#pressure) {
      this.#pressure = pressure;
      this.waiting.style.transform = `scaleX(${(pressure ?? 0) / 100})`;
      this.#say();
    }
    while (this.effects.children.length > effects.length) this.effects.lastChild.remove();
    effects.forEach(({ text, tone }, index) => {
      const badge = this.effects.children[index] ?? this.effects.appendChild(h("span"));
      setAttribute(badge, "class", `badge ${tone}`);
      setText(badge, text);
    });
  }

  #say() {
    const parts = [];
    if (this.#used != null) parts.push(`in use ${limitWords(this.dial, this.#used)}${this.whose}`);
    if (this.#peak != null) parts.push(`peak ${limitWords(this.dial, this.#peak)}`);
    if (this.#pressure != null) parts.push(pressureWords(this.#pressure));
    setText(this.usage, parts.map((part) => ` · ${part}`).join(""));
  }

  /** the API refused: back to what is so, with its own words below */
  refuse(error) {
    this.#moved = -Infinity;
    this.show(this.#reading);
    this.control.box.setAttribute("aria-invalid", "true");
    setText(this.refusal, [error.message, error.hint].filter(Boolean).join(" "));
    this.refusal.hidden = false;
  }
}

customElements.define("limit-slider", LimitSlider);
