// What happened to the containers, newest first, live.

import { emptyState, h, icon, pageData } from "../dom.js";
import { eventRow } from "../event_row.js";
import { listen, store } from "../store.js";

const MOST = 500; // rows kept; older ones are in the API

class ActivityPage extends HTMLElement {
  #abort = new AbortController();
  #seen = new Set();

  connectedCallback() {
    store.want("events");
    const items = [...(pageData().items ?? [])].sort((a, b) => b.sequence - a.sequence);
    this.body = h("tbody", { "data-testid": "events" });
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the events", placeholder: "name, action", spellcheck: "false" });
    this.table = h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": "Events" }, h("table", null, h("thead", null, h("tr", null, ["Time", "Container", "Engine", "Event", "Detail"].map((head) => h("th", { scope: "col" }, head)))), this.body));
    this.empty = h("div", { class: "panel-box" }, emptyState("activity", "Nothing happened yet", "Every start, stop, change of a limit and death shows up here the moment it happens.", h("a", { class: "button primary", href: "/containers/#new" }, icon("plus"), "New sandbox")));
    this.append(h("div", { class: "page-head" }, h("h1", null, "Activity"), h("span", { class: "sub" }, "newest first, live"), h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), this.search))), this.table, this.empty);
    for (const event of items.slice(0, MOST).reverse()) this.#add(event);
    this.#toggle();
    listen(this.#abort.signal, "activity", (event) => {
      this.#add(event);
      this.#toggle();
    });
    this.search.addEventListener("input", () => this.#filter());
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  #add(event) {
    const key = `${event.node}:${event.sequence}`;
    if (this.#seen.has(key)) return;
    this.#seen.add(key);
    const row = eventRow(event);
    row.hidden = !this.#matches(row);
    this.body.prepend(row);
    if (this.body.children.length > MOST) this.body.lastChild.remove();
  }

  #matches(row) {
    return row.textContent.toLowerCase().includes(this.search.value.trim().toLowerCase());
  }

  #filter() {
    for (const row of this.body.children) row.hidden = !this.#matches(row);
  }

  #toggle() {
    this.table.hidden = !this.body.children.length;
    this.empty.hidden = !this.table.hidden;
  }
}

customElements.define("activity-page", ActivityPage);
