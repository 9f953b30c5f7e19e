// The page of images: what every engine has, imports with their progress, and what can be done with each.

import "./job-list.js";
import { api } from "../api.js";
import { copyToSandboxes } from "../copies.js";
import { emptyState, h, icon, pageData, setText } from "../dom.js";
import { ask, toast, toastError } from "../feedback.js";
import { openImportDialog } from "../import_dialog.js";
import * as format from "../lib/format.js";

const HEADS = [["Name"], ["Engine"], ["Size", "num"], ["Made", "num"], ["From"], ["Used by"], ["Actions", "acts"]];

class ImagePage extends HTMLElement {
  #items = [];

  connectedCallback() {
    const data = pageData();
    this.#items = data.items ?? [];
    this.count = h("span", { class: "sub", "data-testid": "image-count" });
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the images", placeholder: "Filter", spellcheck: "false", on: { input: () => this.#draw() } });
    this.jobs = document.createElement("job-list");
    this.jobs.addEventListener("finished", () => this.#refresh());
    this.body = h("tbody");
    this.table = h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": "Images" }, h("table", null, h("thead", null, h("tr", null, HEADS.map(([label, css]) => h("th", { scope: "col", class: css }, label)))), this.body));
    this.empty = h("div", { class: "panel-box", hidden: true });
    this.append(
      h("div", { class: "page-head" }, h("h1", null, "Images"), this.count, h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), this.search),
        h("button", { type: "button", class: "primary", "data-testid": "import-image", on: { click: openImportDialog } }, icon("plus"), "Import an image"))),
      this.jobs, this.table, this.empty);
    this.#draw();
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
    this.body.replaceChildren(...shown.map((image) => this.#row(image)));
    this.table.hidden = !shown.length;
    this.empty.hidden = shown.length > 0;
    this.empty.replaceChildren(this.#items.length ? emptyState("search", "Nothing matches the filter", "") : emptyState("images", "No images yet", "Import one: from a tarball, a registry, Docker, this host's programs or Debian's mirror."));
  }

  #row(image) {
    const raw = image.engine === "raw";
    const used = image.in_use_by ?? [];
    return h("tr", { "data-testid": "image-row", dataset: { name: image.name } },
      h("td", null, h("b", { class: "mono" }, image.name)), h("td", null, h("span", { class: "badge", "data-engine": image.engine }, image.engine)),
      h("td", { class: "num" }, format.bytes(image.size)), h("td", { class: "num", title: image.created_at ? format.dateTime(image.created_at) : null }, image.created_at ? format.ago(image.created_at) : format.UNKNOWN),
      h("td", { class: "quiet" }, image.source ?? ""), h("td", null, used.length ? h("span", { class: "inline-list" }, used.slice(0, 4).map((name) => h("a", { href: `/containers/${encodeURIComponent(name)}/` }, name)), used.length > 4 ? h("span", { class: "quiet" }, `and ${used.length - 4} more`) : null) : h("span", { class: "faint" }, "nothing")),
      h("td", { class: "acts nowrap" },
        raw ? h("a", { class: "button", href: `/api/v1/images/${encodeURIComponent(image.name)}/export`, download: "", title: "Download as a tar", "aria-label": `Download ${image.name} as a tar`, "data-testid": "image-export" }, "Download")
          : h("button", { type: "button", "data-testid": "image-copy", "aria-label": `Copy ${image.name} to sandboxes`, on: { click: () => copyToSandboxes(image).catch(toastError) } }, "Copy to sandboxes"), " ",
        h("button", { type: "button", class: "square danger", title: used.length ? "Remove (in use)" : "Remove", "aria-label": `Remove ${image.name}`, "data-testid": "image-remove", on: { click: () => this.#remove(image) } }, icon("trash"))));
  }

  async #remove(image) {
    if (!(await ask(`Remove the image ${image.name}?`, [h("p", null, `Its files are deleted${image.size ? `: ${format.bytes(image.size)}` : ""}. It can be imported again.`)], "Remove"))) return;
    try {
      await api.delete(`/images/${encodeURIComponent(image.name)}${image.engine === "raw" ? "" : `?engine=${encodeURIComponent(image.engine)}`}`);
      toast(`${image.name} was removed.`);
    } catch (error) {
      toastError(error);
    }
    await this.#refresh();
  }
}

customElements.define("image-page", ImagePage);
