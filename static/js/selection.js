// Several containers at once: which are selected, and the bar of what can be done to them.

import { ACTIONS, available } from "./actions.js";
import { api } from "./api.js";
import { h, icon, pageData, setText } from "./dom.js";
import { ask, toast, toastError } from "./feedback.js";
import { plural } from "./lib/format.js";
import { choosePreset } from "./presets.js";
import { store } from "./store.js";

const OFFERED = ["start", "stop", "pause", "resume", "restart", "remove"];

/** Fires "change" when another set is selected. Ids of what is gone leave by drop(). */
export class Selection extends EventTarget {
  ids = new Set();
  #last = null;

  constructor() {
    super();
    this.count = h("b", { "data-testid": "selected-count" });
    this.buttons = OFFERED.map((name) => h("button", { type: "button", class: name === "remove" ? "tiny danger" : "tiny", dataset: { act: name }, "data-testid": `selected-${name}`, on: { click: () => this.#act(name) } }, icon(ACTIONS[name].icon), ACTIONS[name].label));
    this.bar = h("div", { class: "selection-bar", role: "toolbar", "aria-label": "Selected containers", hidden: true, "data-testid": "selection-bar" },
      this.count, this.buttons,
      h("button", { type: "button", class: "tiny", "data-testid": "selected-preset", "aria-haspopup": "menu", on: { click: (event) => this.#preset(event.currentTarget) } }, icon("sliders"), "Limits …"),
      h("button", { type: "button", class: "tiny bare", title: "Select none (Esc)", on: { click: () => this.clear() } }, "Select none"));
  }

  toggle(id, { range = null } = {}) {
    const from = range && this.#last ? range.indexOf(this.#last) : -1;
    if (from >= 0) {
      const to = range.indexOf(id);
      for (const one of range.slice(Math.min(from, to), Math.max(from, to) + 1)) this.ids.add(one);
    } else if (!this.ids.delete(id)) this.ids.add(id);
    this.#last = id;
    this.#changed();
  }

  set(ids) {
    this.ids = new Set(ids);
    this.#changed();
  }

  clear() {
    this.set([]);
  }

  drop(id) {
    if (this.ids.delete(id)) this.#changed();
  }

  #changed() {
    this.bar.hidden = this.ids.size === 0;
    setText(this.count, `${this.ids.size} selected`);
    this.draw();
    this.dispatchEvent(new Event("change"));
  }

  /** What can be done to one of them at least. */
  draw() {
    const possible = new Set([...this.ids].flatMap((id) => (store.containers.has(id) ? available(store.containers.get(id)) : [])));
    for (const button of this.buttons) button.disabled = !possible.has(button.dataset.act);
  }

  #fit(name) {
    return [...this.ids].filter((id) => store.containers.has(id) && available(store.containers.get(id)).includes(name));
  }

  async #act(name) {
    const ids = this.#fit(name);
    const what = plural(ids.length, "container");
    if (name === "remove" && !(await ask(`Remove ${what}?`, [h("p", null, "What runs is killed; files and logs are deleted."), h("p", { class: "quiet" }, ids.map((id) => store.containers.get(id).name).join(", "))], "Remove"))) return;
    await this.#send(`/many/${name}`, ids, `${what} ${ids.length === 1 ? "was" : "were"} ${ACTIONS[name].done}.`);
  }

  async #preset(anchor) {
    const preset = await choosePreset(anchor, pageData().limits_table ?? []);
    if (preset) await this.#send(`/presets/${encodeURIComponent(preset.name)}/apply`, this.#fit("remove"), `“${preset.name}” is set on ${plural(this.ids.size, "container")}.`);
  }

  async #send(path, containers, done) {
    if (!containers.length) return;
    this.bar.setAttribute("aria-busy", "true");
    try {
      const failed = (await api.post(path, { containers })).items.filter((one) => !one.done);
      if (!failed.length) toast(done);
      else showFailures(failed, containers.length);
    } catch (error) {
      toastError(error);
    } finally {
      this.bar.removeAttribute("aria-busy");
    }
  }
}

function showFailures(failed, all) {
  ask(`${failed.length} of ${all} could not be done`, [h("table", { class: "outcomes", "data-testid": "outcomes" }, h("tbody", null, failed.map((one) => h("tr", null, h("th", { scope: "row" }, store.containers.get(one.target)?.name ?? one.target), h("td", null, one.message, " ", h("span", { class: "hint" }, one.hint))))))], "Close", { danger: false });
}
