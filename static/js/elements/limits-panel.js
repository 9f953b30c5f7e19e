// A container's tab of limits: presets, freezing, and a slider for each limit with what it does to the container.

import "./limit-list.js";
import { perform } from "../actions.js";
import { api } from "../api.js";
import { setKeepLimits } from "../changes.js";
import { errorState, h, icon, setAttribute, skeleton } from "../dom.js";
import { toastError } from "../feedback.js";
import { living } from "../lib/container_facts.js";
import { repeat } from "../lib/timing.js";
import { choosePreset, savePreset } from "../presets.js";
import { listen, store } from "../store.js";

const EVENTS_EVERY = 1500; // ms between looks at what the limits do
const PEAKS = ["cpu", "memory", "pids", "net_in", "net_out", "io_read", "io_write"];

class LimitsPanel extends HTMLElement {
  #abort = new AbortController();
  #events = null;
  #tidy = null;
  #kept; // as it was drawn last

  async open({ id, limits_table: table }) {
    this.path = `/containers/${encodeURIComponent(id)}/limits`;
    this.container = id;
    this.table = table;
    this.replaceChildren(skeleton(9));
    let readings;
    try {
      readings = await api.get(this.path);
    } catch (error) {
      this.replaceChildren(errorState(error, () => this.open({ id, limits_table: table })));
      return;
    }
    if (this.#abort.signal.aborted) return;
    const settle = (how, name) => api.post(`${this.path}/${how}`, { names: [name] });
    this.list = document.createElement("limit-list").build({ table, readings, path: this.path, settle });
    this.replaceChildren(this.#tools(), legend(), this.list);
    const { signal } = this.#abort;
    listen(signal, "stats", () => this.#drawUse());
    listen(signal, "containers", ({ changed }) => changed.includes(id) && this.#drawContainer());
    this.#drawContainer();
    this.#drawUse();
    this.#tidy = repeat(() => this.#readEvents(), EVENTS_EVERY);
    await Promise.allSettled([this.#readEvents(), store.fill(id)]);
    this.#drawUse();
  }

  disconnectedCallback() {
    this.#abort.abort();
    this.#tidy?.();
  }

  #tools() {
    this.freeze = h("button", { type: "button", role: "switch", class: "switch", title: "Its processes stand still and keep their memory", "data-testid": "freeze", on: { click: () => this.#toggleFreeze() } }, h("i", { "aria-hidden": "true" }), "Freeze");
    this.keep = h("input", { type: "checkbox", "data-testid": "keep-limits", on: { change: () => this.#setKeep() } });
    this.group = h("p", { class: "hint", hidden: true, "data-testid": "limits-group" });
    return h("div", { class: "row wrap limit-tools" },
      h("button", { type: "button", class: "tiny", "data-testid": "apply-preset", "aria-haspopup": "menu", on: { click: (event) => this.#usePreset(event.currentTarget) } }, icon("sliders"), "Use a preset …"),
      h("button", { type: "button", class: "tiny", "data-testid": "save-preset", on: { click: () => savePreset(this.table, this.list.requested) } }, "Keep as a preset …"),
      this.freeze, this.keepLabel = h("label", { class: "row small", title: "Those that Docker's own record has no words for: disks, network rates, soft memory limits, and the absence of a limit" }, this.keep, "Come back after a restart"), this.group);
  }

  async #setKeep() {
    const container = store.containers.get(this.container);
    try {
      await setKeepLimits(container, this.keep.checked);
    } catch (error) {
      this.keep.checked = container.keep_limits;
      toastError(error);
    }
  }

  async #usePreset(anchor) {
    const preset = await choosePreset(anchor, this.table);
    if (preset) this.list.change(preset.limits);
  }

  async #toggleFreeze() {
    this.freeze.disabled = true;
    await perform(this.container, this.freeze.getAttribute("aria-checked") === "true" ? "resume" : "pause");
    this.#drawContainer();
  }

  #drawContainer() {
    const container = store.containers.get(this.container);
    if (!container) return;
    this.list.standing = ["running", "paused"].includes(container.state);
    this.list.take(container.limits ?? this.list.readings);
    setAttribute(this.freeze, "aria-checked", String(container.state === "paused"));
    this.keepLabel.hidden = container.engine === "raw"; // a sandbox's are in its description
    const kept = container.keep_limits;
    if (kept !== this.#kept) this.keep.checked = this.#kept = kept; // else it may be what was just chosen, on its way
    this.keep.disabled = container.stale;
    this.freeze.disabled = !this.list.standing;
    const { group = "" } = container;
    this.group.hidden = !group;
    if (this.group.dataset.group === group) return;
    this.group.dataset.group = group;
    this.group.replaceChildren("It shares the budget of the group ", h("a", { href: `/groups/#${encodeURIComponent(group)}` }, group), ", whose limits can be the tighter ones.");
  }

  async #readEvents() {
    const container = store.containers.get(this.container);
    try {
      this.#events = container && living(container) ? await api.get(`${this.path}/events`) : null;
    } catch {
      this.#events = null; // it has ended meanwhile, or the panel is away, which the page says elsewhere
    }
    this.list.showEffects(this.#events, store.stats.get(this.container));
  }

  #drawUse() {
    const stats = store.stats.get(this.container);
    const history = store.history(this.container);
    const known = (name) => (history[name]?.values ?? []).filter((value) => value != null);
    this.list.showUse(stats, Object.fromEntries(PEAKS.map((name) => [name, known(name).length ? Math.max(...known(name)) : null])));
    if (this.#events) this.list.showEffects(this.#events, stats);
  }
}

function legend() {
  const entry = (kind, text) => h("span", { class: "row" }, h("i", { class: kind, "aria-hidden": "true" }), text);
  return h("p", { class: "limit-legend hint" }, entry("use", "in use"), entry("tick peak", "most of the last five minutes"), entry("tick effective", "effective, where it is the tighter one"), entry("waiting", "pressure: share of the last ten seconds in which something waited"));
}

customElements.define("limits-panel", LimitsPanel);
