// The page of images: what every engine has, imports with their progress, and what can be done with each.

import "./job-list.js";
import { api } from "../api.js";
import { copyToSandboxes } from "../copies.js";
import { emptyState, exchange, h, icon, pageData, setText, visitor } from "../dom.js";
import { ask, askText, toast, toastError } from "../feedback.js";
import { openImportDialog } from "../import_dialog.js";
import * as format from "../lib/format.js";
import { prune, pruneButtons } from "../prune.js";
import { listen, store } from "../store.js";

const HEADS = [["Name"], ["Engine"], ["Size", "num"], ["Made", "num"], ["From"], ["Used by"], ["Actions", "acts"]];

class ImagePage extends HTMLElement {
  #abort = new AbortController();
  #items = [];

  connectedCallback() {
    const data = pageData();
    this.#items = data.items ?? [];
    this.me = visitor();
    this.count = h("span", { class: "sub", "data-testid": "image-count" });
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the images", placeholder: "Filter", spellcheck: "false", on: { input: () => this.#draw() } });
    this.jobs = document.createElement("job-list");
    this.jobs.addEventListener("finished", () => this.#refresh());
    this.body = h("tbody");
    this.table = h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": "Images" }, h("table", null, h("thead", null, h("tr", null, HEADS.map(([label, css]) => h("th", { scope: "col", class: css }, label)))), this.body));
    this.empty = h("div", { class: "panel-box", hidden: true });
    this.append(
      h("div", { class: "page-head" }, h("h1", null, "Images"), this.count, h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), this.search),
        this.me.staff ? [pruneButtons(data.host?.engines ?? [], (engine) => this.#prune(engine)),
          h("button", { type: "button", class: "primary", "data-testid": "import-image", on: { click: openImportDialog } }, icon("plus"), "Import an image")] : null)),
      this.jobs, this.table, this.empty);
    listen(this.#abort.signal, "containers", () => this.#draw());
    this.#draw();
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  async #refresh() {
    try {
      this.#items = (await api.get("/images")).items;
      this.#draw();
    } catch (error) {
      toastError(error);
    }
  }

  #draw() {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = this.#items.filter((image) => `${image.name} ${image.engine} ${image.source ?? ""}`.toLowerCase().includes(wanted));
    setText(this.count, shown.length === this.#items.length ? format.plural(shown.length, "image") : `${shown.length} of ${format.plural(this.#items.length, "image")}`);
    exchange(this.body, shown.map((image) => this.#row(image)));
    this.table.hidden = !shown.length;
    this.empty.hidden = shown.length > 0;
    this.empty.replaceChildren(this.#items.length ? emptyState("search", "Nothing matches the filter", "") : emptyState("images", "No images yet", !this.me.staff ? "Staff import them. Ask an administrator." : "Import one: from a tarball, a registry, Docker, this host's programs or Debian's mirror."));
  }

  #row(image) {
    const raw = image.engine === "raw";
    const { staff, username } = this.me;
    const used = this.#users(image);
    return h("tr", { "data-testid": "image-row", dataset: { name: image.name } },
      h("td", null, h("b", { class: "mono" }, image.name)), h("td", null, h("span", { class: "badge", "data-engine": image.engine }, image.engine)),
      h("td", { class: "num" }, format.bytes(image.size)), h("td", { class: "num", title: image.created_at ? format.dateTime(image.created_at) : null }, image.created_at ? format.ago(image.created_at) : format.UNKNOWN),
      h("td", { class: "quiet" }, image.source ?? ""), h("td", null, used.length ? h("span", { class: "inline-list" }, used.slice(0, 4).map((name) => h("a", { href: `/containers/${encodeURIComponent(name)}/` }, name)), used.length > 4 ? h("span", { class: "quiet" }, `and ${used.length - 4} more`) : null) : h("span", { class: "faint" }, "nothing")),
      h("td", { class: "acts nowrap" },
        raw ? h("a", { class: "button", href: `/api/v1/images/${encodeURIComponent(image.name)}/export`, download: "", title: "Download as a tar", "aria-label": `Download ${image.name} as a tar`, "data-testid": "image-export" }, "Download")
          : !staff ? null : h("button", { type: "button", "data-testid": "image-copy", "aria-label": `Copy to sandboxes: ${image.name}`, on: { click: () => copyToSandboxes(image).catch(toastError) } }, "Copy to sandboxes"), " ",
        raw || !staff ? null : [h("button", { type: "button", "data-testid": "image-tag", "aria-label": `Give ${image.name} another name`, on: { click: () => this.#tag(image) } }, "Name …"), " "],
        !staff && !(raw && image.owner === username) ? null : h("button", { type: "button", class: "square danger", title: used.length ? "Remove (in use)" : "Remove", "aria-label": `Remove ${image.name}`, "data-testid": "image-remove", on: { click: () => this.#remove(image) } }, icon("trash"))));
  }

  /** Docker tells of no users: its containers do. */
  #users(image) {
    if (image.engine === "raw") return image.in_use_by ?? [];
    const named = (one) => one.engine === image.engine && [image.name, `${image.name}:latest`].includes(one.image);
    return [...store.containers.values()].filter(named).map((one) => one.name).sort();
  }

  async #remove(image) {
    const used = this.#users(image);
    const text = `Its files are deleted${image.size ? `: ${format.bytes(image.size)}` : ""}, as far as no other image has them. It can be imported again.`;
    const sure = [h("p", null, text), used.length && image.engine !== "raw" ? h("p", { class: "quiet", "data-testid": "image-users" }, `In use by ${used.join(", ")}.`) : null];
    if (!(await ask(`Remove the image ${image.name}?`, sure, "Remove"))) return;
    try {
      await this.#delete(image, false);
    } catch (error) {
      if (image.engine === "raw" || error.status !== 409) toastError(error);
      else if (await ask(`Remove ${image.name} by force?`, [h("p", { "data-testid": "image-refused" }, error.message), h("p", { class: "quiet" }, "By force it loses all its names, and containers that were made from it stay without. One that runs keeps it all the same.")], "Remove by force")) await this.#delete(image, true).catch(toastError);
    }
    await this.#refresh();
  }

  async #delete(image, force) {
    await api.delete(`/images/${encodeURIComponent(image.name)}${image.engine === "raw" ? "" : `?engine=${encodeURIComponent(image.engine)}&force=${force}`}`);
    toast(`${image.name} was removed.`);
  }

  async #tag(image) {
    const send = (name) => api.post("/images/tag", { engine: image.engine, name: image.name, new: name });
    if (await askText(`Another name for ${image.name}`, "Name", { value: image.name, agree: "Add it", hint: "REPOSITORY:TAG; with a registry in front of it can be pushed there.", send })) await this.#refresh();
  }

  async #prune(engine) {
    if (await prune("images", engine, { one: "image", what: "without a name or a container" })) await this.#refresh();
  }
}

customElements.define("image-page", ImagePage);
