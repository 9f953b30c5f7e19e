// What happened to the containers, newest first, live.

import { emptyState, h, icon, pageData } from "../dom.js";
import { EventRows } from "../event_rows.js";

const MOST = 500; // rows kept; older ones are in the API

class ActivityPage extends HTMLElement {
  #abort = new AbortController();
  #rows = new EventRows({ most: MOST, shows: (row) => this.#matches(row), changed: () => this.#toggle() });

  connectedCallback() {
    const { body } = this.#rows;
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the events", placeholder: "name, action", spellcheck: "false" });
    this.table = h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": "Events" }, h("table", null, h("thead", null, h("tr", null, ["Time", "Container", "Engine", "Event", "Detail"].map((head) => h("th", { scope: "col" }, head)))), body));
    this.empty = h("div", { class: "panel-box" }, emptyState("activity", "Nothing happened yet", "Every start, stop, change of a limit and death shows up here the moment it happens.", h("a", { class: "button primary", href: "/containers/#new" }, icon("plus"), "New sandbox")));
    this.append(h("div", { class: "page-head" }, h("h1", null, "Activity"), h("span", { class: "sub" }, "newest first, live"), h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), this.search))), this.table, this.empty);
    this.search.addEventListener("input", () => this.#filter());
    this.#rows.follow(this.#abort.signal, pageData().items ?? []);
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  #matches(row) {
    return row.textContent.toLowerCase().includes(this.search.value.trim().toLowerCase());
  }

  #filter() {
    for (const row of this.#rows.body.children) row.hidden = !this.#matches(row);
  }

  #toggle() {
    this.table.hidden = !this.#rows.body.children.length;
    this.empty.hidden = !this.table.hidden;
  }
}

customElements.define("activity-page", ActivityPage);
