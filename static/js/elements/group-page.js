// The page of groups: containers that share one budget, what they use together, and the budget's sliders.

import "./limit-list.js";
import { containerUrl } from "../actions.js";
import { api } from "../api.js";
import { emptyState, exchange, h, icon, pageData, setText } from "../dom.js";
import { ask, askText, toast, toastError } from "../feedback.js";
import * as format from "../lib/format.js";
import { changeTo } from "../lib/limits.js";
import { repeat } from "../lib/timing.js";
import { listen } from "../store.js";

const READ_EVERY = 2000; // ms

class GroupBox {
  #before = null; // {at, cpu} of the last look, both in seconds
  #rate = null;

  constructor(group, table, gone) {
    this.name = group.name;
    this.table = table;
    this.use = Object.fromEntries(["cpu", "memory", "pids"].map((name) => [name, h("b", { "data-testid": `group-${name}` }, format.UNKNOWN)]));
    this.members = h("span", { class: "inline-list", "data-testid": "group-members" });
    this.limits = h("details", { on: { toggle: () => this.#open() } }, h("summary", null, "Limits of the group"));
    const remove = h("button", { type: "button", class: "tiny danger", "aria-label": `Remove the group ${group.name}`, "data-testid": "group-remove", on: { click: () => this.#remove(gone) } }, icon("trash"), "Remove");
    this.element = h("section", { class: "panel-box group-box", "aria-label": `Group ${group.name}`, "data-testid": "group", dataset: { name: group.name } },
      h("header", null, h("h2", null, group.name), h("span", { class: "quiet small" }, `of ${group.owner || "nobody"}`), h("div", { class: "tools" }, remove)),
      h("div", { class: "body" }, h("span", null, "CPU ", this.use.cpu), h("span", null, "Memory ", this.use.memory), h("span", null, "Processes ", this.use.pids), h("span", { class: "row wrap" }, "Members ", this.members)),
      this.limits);
    this.show(group);
  }

  show(group) {
    this.group = group;
    const { at, cpu, memory, pids } = group.usage;
    if (at !== this.#before?.at) {
      this.#rate = cpu == null || this.#before?.cpu == null || at < this.#before.at ? null : Math.max(0, (cpu - this.#before.cpu) / (at - this.#before.at));
      this.#before = { at, cpu };
    }
    const rate = this.#rate;
    const limit = (name) => group.limits[name]?.kernel;
    setText(this.use.cpu, format.coresOf(rate, limit("cpu")));
    setText(this.use.memory, format.bytesOf(memory, limit("memory")));
    setText(this.use.pids, format.countOf(pids, limit("pids")));
    const shape = JSON.stringify([group.members, group.processes]);
    if (shape !== this.shape) {
      this.shape = shape;
      const members = group.members.map((one) => h("a", { href: containerUrl(one.id) }, one.name, one.state === "running" ? "" : ` (${one.state})`));
      if (group.processes.length) members.push(h("span", { class: "quiet" }, `processes of the host: ${group.processes.join(", ")}`));
      else if (!members.length) members.push(h("span", { class: "faint" }, "none yet: choose the group when you make a sandbox"));
      exchange(this.members, members);
    }
    this.list?.take(group.limits);
    this.list?.showUse({ cpu: rate, memory, pids });
  }

  #open() {
    if (this.list || !this.limits.open) return;
    const path = `/groups/${encodeURIComponent(this.name)}/limits`;
    const settle = (how, name, reading) => api.patch(path, { [name]: how === "accept" ? changeTo(reading.kernel, reading.requested) : changeTo(reading.requested, reading.kernel) });
    this.list = document.createElement("limit-list").build({ table: this.table, readings: this.group.limits, path, settle });
    this.limits.append(this.list);
  }

  async #remove(gone) {
    if (!(await ask(`Remove the group ${this.name}?`, [h("p", null, "Its limits go with it. A group with members stays; processes of the host that were put into it go back to the host.")], "Remove"))) return;
    try {
      await api.delete(`/groups/${encodeURIComponent(this.name)}`);
      toast(`The group ${this.name} was removed.`);
      gone();
    } catch (error) {
      toastError(error);
    }
  }
}

class GroupPage extends HTMLElement {
  #abort = new AbortController();
  #boxes = new Map();
  #tidy = null;

  connectedCallback() {
    const { items = [], limits_table: table = [] } = pageData();
    this.table = table;
    this.count = h("span", { class: "sub" });
    this.list = h("div", { class: "stack" });
    const make = () => h("button", { type: "button", class: "primary", "data-testid": "new-group", on: { click: () => this.#create() } }, icon("plus"), "New group");
    this.empty = h("div", { class: "panel-box", hidden: true }, emptyState("groups", "No groups yet", "A group gives several sandboxes one budget: they share its CPU, memory and processes."));
    this.append(h("div", { class: "page-head" }, h("h1", null, "Groups"), this.count, h("div", { class: "tools" }, make())), this.list, this.empty);
    this.#show(items);
    listen(this.#abort.signal, "containers", () => this.#read());
    this.#tidy = repeat(() => this.#read(), READ_EVERY);
    this.#reveal(decodeURIComponent(location.hash.slice(1)));
  }

  disconnectedCallback() {
    this.#abort.abort();
    this.#tidy();
  }

  async #read() {
    if (this.reading) return;
    this.reading = true;
    try {
      this.#show((await api.get("/groups")).items);
    } catch {
      return; // the page says elsewhere when the panel is away, and this is done again soon
    } finally {
      this.reading = false;
    }
  }

  #show(items) {
    const present = new Set(items.map((group) => group.name));
    for (const [name, box] of this.#boxes) {
      if (present.has(name)) continue;
      box.element.remove();
      this.#boxes.delete(name);
    }
    for (const group of items) {
      const box = this.#boxes.get(group.name);
      if (box) box.show(group);
      else {
        const fresh = new GroupBox(group, this.table, () => this.#read());
        this.#boxes.set(group.name, fresh);
        this.list.append(fresh.element);
      }
    }
    setText(this.count, format.plural(items.length, "group"));
    this.empty.hidden = items.length > 0;
  }

  #reveal(name) {
    const box = this.#boxes.get(name);
    if (!box) return;
    box.limits.open = true;
    box.element.scrollIntoView({ block: "nearest" });
  }

  async #create() {
    let made = null;
    const send = async (name) => { made = await api.post("/groups", { name }); };
    if (!(await askText("New group", "Name", { agree: "Make it", hint: "Its limits are set afterwards; sandboxes join it when they are made.", send }))) return;
    this.#show([...[...this.#boxes.values()].map((box) => box.group), made]);
    this.#reveal(made.name);
  }
}

customElements.define("group-page", GroupPage);
