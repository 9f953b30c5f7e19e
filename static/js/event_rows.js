// Rows of what happened, newest first: as it happens, and after a break of the websocket or the worker what was missed.

import { api } from "./api.js";
import { h } from "./dom.js";
import * as format from "./lib/format.js";
import { listen, store } from "./store.js";

const AGAIN = 5000; // ms after which what could not be fetched is asked for again

function rowOf(event, withName) {
  return h("tr", { "data-testid": "event", dataset: { sequence: event.sequence } }, h("td", { class: "mono quiet nowrap", title: format.dateTime(event.time) }, format.clock(event.time)),
    withName ? h("td", null, h("a", { href: `/containers/${encodeURIComponent(event.container)}/` }, event.name || format.shortId(event.container))) : null,
    withName ? h("td", null, h("span", { class: "badge", "data-engine": event.engine }, event.engine)) : null,
    h("td", null, h("span", { class: `badge ${{ oom: "bad", killed: "warn", created: "good", started: "good" }[event.action] ?? ""}` }, event.action)), h("td", { class: "quiet" }, event.detail));
}

export class EventRows {
  #seen = new Set(); // sequences, also of what has been replaced or is too old to be shown
  #newest = 0; // sequence
  #whole = 0; // the sequence up to which nothing is missing
  #asked = 0; // how often for what was missed
  #answered = 0; // which of these was answered last; not the last one: something may be missing
  #signal = null;
  #again = 0;

  /** most: rows kept; older ones are in the API. container: id, "" for all. shows(row): is it to be seen? changed(): there are more, or others. */
  constructor({ most, container = "", withName = true, shows = () => true, changed = () => null }) {
    Object.assign(this, { most, container, withName, shows, changed });
    this.body = h("tbody", { "data-testid": "events" });
  }

  /** Keep up with the panel until the signal. items: events that are known already */
  follow(signal, items = []) {
    this.#signal = signal;
    signal.addEventListener("abort", () => clearTimeout(this.#again));
    this.#take(items);
    store.want("events");
    listen(signal, "activity", (event) => (!this.container || event.container === this.container) && this.#take([event]));
    for (const back of ["connection", "worker"]) listen(signal, back, (up) => up && this.#catchUp());
    this.#catchUp();
  }

  async #catchUp() {
    const turn = (this.#asked += 1);
    clearTimeout(this.#again);
    try {
      const { items } = await api.get(`/events?${new URLSearchParams({ after: this.#whole, limit: this.most, container: this.container })}`);
      this.#answered = Math.max(this.#answered, turn);
      this.#take(items);
    } catch {
      if (!this.#signal.aborted) this.#again = setTimeout(() => this.#catchUp(), AGAIN); // the banner says that the panel is away
    }
  }

  #take(events) {
    for (const event of events) this.#add(event);
    if (this.#answered === this.#asked) this.#whole = this.#newest;
    while (this.body.children.length > this.most) this.body.lastChild.remove();
    this.changed();
  }

  #add(event) {
    if (event.replaces) {
      this.#seen.add(event.replaces);
      this.body.querySelector(`[data-sequence="${event.replaces}"]`)?.remove();
    }
    if (this.#seen.has(event.sequence)) return;
    this.#seen.add(event.sequence);
    this.#newest = Math.max(this.#newest, event.sequence);
    let older = this.body.firstChild; // what was missed belongs between those that are there
    while (older && Number(older.dataset.sequence) > event.sequence) older = older.nextSibling;
    const row = rowOf(event, this.withName);
    row.hidden = !this.shows(row);
    this.body.insertBefore(row, older);
  }
}
