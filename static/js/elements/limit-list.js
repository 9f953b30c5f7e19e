// The sliders of one container or group, in sections, applied while they move: one request at a time, always with the latest values.

import "./limit-slider.js";
import { api } from "../api.js";
import { h } from "../dom.js";
import { toastError } from "../feedback.js";
import { effectsOf, pressureOf } from "../lib/limit_effects.js";
import { dialsOf, isAside, readingOf, sectionsOf, withChange } from "../lib/limits.js";
import { throttle } from "../lib/timing.js";

const APPLY_EVERY = 50; // ms: as quick as the eye follows, slow enough for 20 writes a second
// limit → the column of stats that counts the same
const USES = { cpu: "cpu", memory: "memory", memory_high: "memory", memory_low: "memory", pids: "pids", net_in: "net_in", net_out: "net_out", io_read_bytes: "io_read", io_write_bytes: "io_write" };

class LimitList extends HTMLElement {
  #sliders = new Map(); // limit → its sliders
  #rows = new Map(); // limit → {row, place: where its sliders are, aside: where those of other devices are}
  #wanted = {};
  #sending = false;
  standing = true; // whether there is a control group, of which the kernel can tell
  #apply = throttle(() => this.#flush(), APPLY_EVERY);

  /** path of the limits in the API; settle(how, name, reading) → the readings after a drift was put back or accepted */
  build({ table, readings, path, settle }) {
    this.path = path;
    this.readings = readings;
    this.append(...sectionsOf(table).map(([title, rows]) => this.#section(title, rows)));
    this.addEventListener("limit", ({ detail }) => {
      this.#wanted = withChange(this.#wanted, detail);
      this.#apply();
    });
    this.addEventListener("settle", async ({ detail: { name, how } }) => {
      try {
        this.take(await settle(how, name, this.readings[name]));
      } catch (error) {
        toastError(error);
      }
    });
    return this;
  }

  disconnectedCallback() {
    this.#apply.flush();
  }

  #section(title, rows) {
    const others = h("details", { hidden: true }, h("summary", null, "Other devices"));
    const places = rows.map((row) => {
      const [place, aside] = [h("div"), h("div")];
      this.#rows.set(row.name, { row, place, aside, others });
      others.append(aside);
      this.#build(row.name);
      return place;
    });
    return h("section", { class: "panel-box limits", "aria-label": title }, h("header", null, h("h2", null, title)), places, others);
  }

  #build(name) {
    const { row, place, aside, others } = this.#rows.get(name);
    const reading = this.readings[name];
    const sliders = dialsOf(row, reading).map((dial) => document.createElement("limit-slider").build(dial, readingOf(reading, dial.part)));
    this.#sliders.set(name, sliders);
    const isSet = ({ dial }) => readingOf(reading, dial.part)?.requested != null || readingOf(reading, dial.part)?.drift;
    const hidden = sliders.filter((slider) => isAside(slider.dial) && !isSet(slider));
    place.replaceChildren(...sliders.filter((slider) => !hidden.includes(slider)));
    aside.replaceChildren(...hidden);
    others.hidden = !others.querySelector("limit-slider");
  }

  /** A disk came or went. */
  #rebuild(readings) {
    for (const [name, { row }] of this.#rows) {
      const keys = (dials) => dials.map((dial) => dial.key).join();
      if (keys(dialsOf(row, readings[name])) !== keys(this.#sliders.get(name).map((slider) => slider.dial))) this.#build(name);
    }
  }

  /** Several at once, all or none: a preset. */
  change(changes) {
    Object.assign(this.#wanted, changes);
    this.#flush();
  }

  get requested() {
    return Object.fromEntries(Object.entries(this.readings).filter(([, reading]) => reading.requested != null).map(([name, reading]) => [name, reading.requested]));
  }

  take(readings) {
    this.readings = readings;
    this.#rebuild(readings);
    for (const [name, reading] of Object.entries(readings)) {
      for (const slider of this.#sliders.get(name) ?? []) slider.show(readingOf(reading, slider.dial.part), { moving: this.#sending || name in this.#wanted, standing: this.standing });
    }
  }

  /** stats: a row of numbers; peaks: column → the most of the last minutes. Disks are counted together: of several, none is known. */
  showUse(stats, peaks = {}) {
    for (const [name, sliders] of this.#sliders) {
      const [slider, second] = sliders.filter(({ dial }) => !isAside(dial));
      const column = USES[name];
      if (column && slider && !second) slider.showUse(stats?.[column] ?? null, peaks[column] ?? null, sliders.length > 1 ? " by all devices" : "");
    }
  }

  /** events: what GET …/limits/events tells, null when it is not known */
  showEffects(events, stats) {
    for (const [name, sliders] of this.#sliders) {
      const { locked, kernel = null, effective = null } = this.readings[name] ?? {};
      const effects = locked ? [] : effectsOf(name, events, stats, effective === null || effective === kernel);
      for (const slider of sliders) slider.showEffects(effects, pressureOf(name, events));
    }
  }

  async #flush() {
    if (this.#sending || !Object.keys(this.#wanted).length) return;
    const changes = this.#wanted;
    this.#wanted = {};
    this.#sending = true;
    try {
      const answer = await api.patch(this.path, changes);
      this.#sending = false;
      this.take(answer);
    } catch (error) {
      this.#sending = false;
      for (const [name, value] of Object.entries(changes)) {
        for (const slider of this.#sliders.get(name) ?? []) if (!(name in this.#wanted) && (!slider.dial.part || slider.dial.part in (value ?? {}))) slider.refuse(error);
      }
      toastError(error);
    }
    if (Object.keys(this.#wanted).length) this.#apply();
  }
}

customElements.define("limit-list", LimitList);
