// A plain table of what the engines have.

import { emptyState, h, icon, pageData, setText } from "../dom.js";
import * as format from "../lib/format.js";

const badge = (engine) => h("span", { class: "badge", "data-engine": engine }, engine);
const KINDS = {
  networks: {
    title: "Networks", one: "network", icon: "networks", search: (item) => `${item.name} ${item.engine} ${item.subnet} ${item.bridge}`,
    columns: [["Name", (item) => h("b", null, item.name)], ["Engine", (item) => badge(item.engine)], ["Subnet", (item) => h("code", null, item.subnet || "–")], ["Gateway", (item) => h("code", null, item.gateway || "–")], ["Bridge on the host", (item) => h("code", null, item.bridge || "–")]],
    empty: ["No networks yet", "The panel's own bridge is made with the first sandbox that asks for it."],
  },
};

class ItemTable extends HTMLElement {
  connectedCallback() {
    const kind = KINDS[this.dataset.kind];
    const items = pageData().items ?? [];
    const count = h("span", { class: "sub" }, format.plural(items.length, kind.one));
    const search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": `Filter the ${kind.title.toLowerCase()}`, placeholder: "Filter", spellcheck: "false" });
    this.append(h("div", { class: "page-head" }, h("h1", null, kind.title), count, items.length ? h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), search)) : null));
    if (!items.length) {
      this.append(h("div", { class: "panel-box" }, emptyState(kind.icon, ...kind.empty, h("a", { class: "button primary", href: "/containers/#new" }, icon("plus"), "New sandbox"))));
      return;
    }
    const rows = items.map((item) => ({ text: kind.search(item).toLowerCase(), element: h("tr", { "data-testid": `${kind.one}-row`, "data-name": item.name }, kind.columns.map(([, draw, css]) => h("td", { class: css }, draw(item)))) }));
    this.append(h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": kind.title }, h("table", null, h("thead", null, h("tr", null, kind.columns.map(([label, , css]) => h("th", { scope: "col", class: css }, label)))), h("tbody", null, rows.map((row) => row.element)))));
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      for (const row of rows) row.element.hidden = !row.text.includes(wanted);
      const shown = rows.filter((row) => !row.element.hidden).length;
      setText(count, shown === rows.length ? format.plural(rows.length, kind.one) : `${shown} of ${format.plural(rows.length, kind.one)}`);
    });
  }
}

customElements.define("item-table", ItemTable);
