// The tab of limits: a slider for each, applied while it moves. One request at a time, always with the latest values.

import "./limit-slider.js";
import { api } from "../api.js";
import { errorState, h, icon, skeleton } from "../dom.js";
import { toastError } from "../feedback.js";
import { throttle } from "../lib/timing.js";
import { choosePreset, savePreset } from "../presets.js";
import { listen, store } from "../store.js";

const APPLY_EVERY = 50; // ms: as quick as the eye follows, slow enough for 20 writes a second
const USES = { cpu: "cpu", memory: "memory", memory_high: "memory", memory_low: "memory", pids: "pids" };
const GROUPS = [["CPU", ["cpu", "cpu_weight", "cpuset"]], ["Memory", ["memory", "memory_high", "memory_low", "swap"]], ["Processes", ["pids"]]];

class LimitsPanel extends HTMLElement {
  #abort = new AbortController();
  #sliders = new Map();
  #wanted = {};
  #sending = false;
  #apply = throttle(() => this.#flush(), APPLY_EVERY);

  async open({ id, limits_table: table }) {
    this.path = `/containers/${encodeURIComponent(id)}/limits`;
    this.container = id;
    this.replaceChildren(skeleton(9));
    let readings;
    try {
      readings = await api.get(this.path);
    } catch (error) {
      this.replaceChildren(errorState(error, () => this.open({ id, limits_table: table })));
      return;
    }
    this.#draw(table, readings.limits ?? readings);
    const { signal } = this.#abort;
    this.addEventListener("limit", ({ detail: { name, value } }) => {
      this.#wanted[name] = value;
      this.#apply();
    }, { signal });
    listen(signal, "stats", () => this.#drawUse());
    listen(signal, "containers", ({ changed }) => changed.includes(id) && this.#take(store.containers.get(id).limits ?? {}));
    this.#drawUse();
  }

  disconnectedCallback() {
    this.#abort.abort();
    this.#apply.flush();
  }

  #draw(table, readings) {
    const rows = new Map(table.map((row) => [row.name, row]));
    const known = new Set(GROUPS.flatMap(([, names]) => names));
    const rest = table.map((row) => row.name).filter((name) => !known.has(name));
    const tools = h("div", { class: "row wrap limit-tools" },
      h("button", { type: "button", class: "tiny", "data-testid": "apply-preset", "aria-haspopup": "menu", on: { click: (event) => this.#usePreset(event.currentTarget) } }, icon("sliders"), "Use a preset …"),
      h("button", { type: "button", class: "tiny", "data-testid": "save-preset", on: { click: () => savePreset(this.#requested()) } }, "Keep as a preset …"));
    this.replaceChildren(tools, ...[...GROUPS, ["Others", rest]].filter(([, names]) => names.some((name) => rows.has(name))).map(([title, names]) => h("section", { class: "panel-box limits", "aria-label": title },
      h("header", null, h("h2", null, title)),
      names.filter((name) => rows.has(name)).map((name) => {
        const slider = document.createElement("limit-slider").build(rows.get(name), readings[name]);
        this.#sliders.set(name, slider);
        return slider;
      }))));
  }

  async #usePreset(anchor) {
    const preset = await choosePreset(anchor);
    if (!preset) return;
    Object.assign(this.#wanted, preset.limits);
    this.#flush();
  }

  #requested() {
    const readings = store.containers.get(this.container)?.limits ?? {};
    return Object.fromEntries(Object.entries(readings).filter(([, reading]) => reading.requested != null).map(([name, reading]) => [name, reading.requested]));
  }

  #take(readings) {
    for (const [name, reading] of Object.entries(readings)) this.#sliders.get(name)?.show(reading, { moving: this.#sending || name in this.#wanted });
  }

  async #flush() {
    if (this.#sending || !Object.keys(this.#wanted).length) return;
    const changes = this.#wanted;
    this.#wanted = {};
    this.#sending = true;
    try {
      const answer = await api.patch(this.path, changes);
      this.#sending = false;
      this.#take(answer.limits ?? answer);
    } catch (error) {
      this.#sending = false;
      for (const name of Object.keys(changes)) if (!(name in this.#wanted)) this.#sliders.get(name)?.refuse(error);
      toastError(error);
    }
    if (Object.keys(this.#wanted).length) this.#apply();
  }

  #drawUse() {
    const stats = store.stats.get(this.container);
    for (const [name, slider] of this.#sliders) if (USES[name]) slider.showUse(stats?.[USES[name]]);
  }
}

customElements.define("limits-panel", LimitsPanel);
