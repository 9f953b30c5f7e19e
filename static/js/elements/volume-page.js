// The page of Docker's volumes: what there is, how large, who has it; making, removing, tidying up.

import { containerUrl } from "../actions.js";
import { api } from "../api.js";
import { field, input } from "../create/fields.js";
import { emptyState, exchange, h, icon, pageData, setText, visitor } from "../dom.js";
import { ask, toast, toastError } from "../feedback.js";
import { formDialog } from "../form_dialog.js";
import * as format from "../lib/format.js";
import { debounce } from "../lib/timing.js";
import { prune, pruneButtons } from "../prune.js";
import { listen, store } from "../store.js";

const HEADS = [["Name"], ["Engine"], ["Size", "num"], ["Made", "num"], ["On the host"], ["Used by"], ["Actions", "acts"]];
const REFRESH_AFTER = 400; // ms after a container came or went

const refreshing = debounce((page) => page.refresh(), REFRESH_AFTER);

class VolumePage extends HTMLElement {
  #abort = new AbortController();
  #items = [];
  #sizes = new Map(); // "engine/name" → bytes; counted last, and for longer than a list may take

  connectedCallback() {
    const data = pageData();
    this.#items = data.items ?? [];
    this.staff = visitor().staff;
    this.engines = this.staff ? (data.host?.engines ?? []).filter((engine) => engine.name !== "raw" && engine.available) : [];
    this.count = h("span", { class: "sub", "data-testid": "volume-count" });
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the volumes", placeholder: "Filter", spellcheck: "false", on: { input: () => this.#draw() } });
    this.body = h("tbody");
    this.table = h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": "Volumes" }, h("table", null, h("thead", null, h("tr", null, HEADS.map(([label, css]) => h("th", { scope: "col", class: css }, label)))), this.body));
    this.empty = h("div", { class: "panel-box", hidden: true });
    this.append(h("div", { class: "page-head" }, h("h1", null, "Volumes"), this.count, h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), this.search),
      pruneButtons(this.engines, (engine) => this.#prune(engine)), this.engines.length ? h("button", { type: "button", class: "primary", "data-testid": "new-volume", on: { click: () => this.#create() } }, icon("plus"), "New volume") : null)), this.table, this.empty);
    if (this.staff) listen(this.#abort.signal, "containers", () => refreshing(this));
    this.#draw();
    this.#measure();
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  async refresh() {
    try {
      this.#items = (await api.get("/volumes")).items;
      this.#draw();
    } catch {
      // what is shown stays; the banner says that somebody does not answer
    }
  }

  async #measure() {
    if (!this.#items.length) return;
    try {
      for (const { engine, name, size } of (await api.get("/volumes?sizes=true")).items) this.#sizes.set(`${engine}/${name}`, size);
      this.#draw();
    } catch {
      // sizes stay unknown
    }
  }

  #draw() {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = this.#items.filter((one) => `${one.name} ${one.engine} ${one.owner}`.toLowerCase().includes(wanted));
    setText(this.count, shown.length === this.#items.length ? format.plural(shown.length, "volume") : `${shown.length} of ${format.plural(this.#items.length, "volume")}`);
    exchange(this.body, shown.map((one) => this.#row(one)));
    this.table.hidden = !shown.length;
    this.empty.hidden = shown.length > 0;
    const none = !this.staff ? ["Volumes are for staff", "They belong to Docker's containers, which staff run. Ask an administrator. Your sandboxes keep their files themselves."] : this.engines.length ? ["No volumes yet", "A volume keeps a container's data when the container goes. Make one here, and mount it in the form for a new container."] : ["No Docker here", "Volumes are Docker's. Sandboxes bind directories of the host, as far as the policy allows."];
    this.empty.replaceChildren(this.#items.length ? emptyState("search", "Nothing matches the filter", "") : emptyState("volumes", ...none));
  }

  #row(volume) {
    const users = volume.used_by.map((id) => store.containers.get(id) ?? { id, name: format.shortId(id) });
    const made = volume.created_at;
    return h("tr", { "data-testid": "volume-row", dataset: { name: volume.name } },
      h("td", null, h("b", { class: "mono" }, volume.name), volume.owner ? h("div", { class: "small quiet" }, `made by ${volume.owner}`) : null), h("td", null, h("span", { class: "badge", "data-engine": volume.engine }, volume.engine)),
      h("td", { class: "num", "data-testid": "volume-size" }, format.bytes(this.#sizes.get(`${volume.engine}/${volume.name}`))), h("td", { class: "num", title: made ? format.dateTime(made) : null }, made ? format.ago(made) : format.UNKNOWN),
      h("td", null, h("code", { class: "small" }, volume.path || volume.driver)),
      h("td", null, users.length ? h("span", { class: "inline-list" }, users.map((one) => h("a", { href: containerUrl(one.id) }, one.name))) : h("span", { class: "faint" }, "nobody")),
      h("td", { class: "acts nowrap" }, h("button", { type: "button", class: "square danger", title: users.length ? "Remove (in use)" : "Remove", "aria-label": `Remove the volume ${volume.name}`, "data-testid": "volume-remove", on: { click: () => this.#remove(volume) } }, icon("trash"))));
  }

  async #create() {
    const engine = h("select", { name: "engine", "data-testid": "volume-engine" }, this.engines.map(({ name }) => h("option", { value: name }, name)));
    const name = input("name", "db-data", { required: true, maxlength: 128, autofocus: true, "data-testid": "volume-name" });
    const send = () => api.post("/volumes", { engine: engine.value, name: name.value.trim() });
    const made = await formDialog({ title: "New volume", agree: "Make it", testid: "volume-dialog", send, fields: [field("Name", name), this.engines.length > 1 ? field("Engine", engine) : null] });
    if (!made) return;
    toast(`The volume ${made.name} is there.`);
    await this.refresh();
    await this.#measure();
  }

  async #remove(volume) {
    const size = this.#sizes.get(`${volume.engine}/${volume.name}`);
    if (!(await ask(`Remove the volume ${volume.name}?`, [h("p", null, `All that is in it is deleted${size ? `: ${format.bytes(size)}` : ""}. There is no way back.`)], "Remove"))) return;
    try {
      await api.delete(`/volumes/${encodeURIComponent(volume.name)}?engine=${encodeURIComponent(volume.engine)}`);
      toast(`The volume ${volume.name} was removed.`);
    } catch (error) {
      toastError(error);
    }
    await this.refresh();
  }

  async #prune(engine) {
    if (await prune("volumes", engine, { one: "volume", what: "that no container has" })) await this.refresh();
  }
}

customElements.define("volume-page", VolumePage);
