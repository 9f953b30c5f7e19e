// The tab "Logs": the last lines, what follows them, times, a beginning, and a search.

import { api } from "../api.js";
import { copyButton, h, icon, setText } from "../dom.js";
import { toastError } from "../feedback.js";
import { LogLines, MOST_FOUND, findAll, parseSince } from "../lib/log_lines.js";
import { debounce, repeat } from "../lib/timing.js";
import { store } from "../store.js";
import { box, path } from "./parts.js";

const EVERY = 2000; // ms between reads while it is looked at
const LINES = 2000;
const WHOLE = 100_000; // lines of a download
const TYPED = 150; // ms after a key until it is looked for
const NEAR = 40; // px from the end that still count as its end

class LogView {
  #lines = new LogLines();
  #next = "";
  #since = 0;
  #turn = 0;
  #found = [];
  #at = -1;

  constructor(id) {
    this.id = id;
    const check = (text, testid, change, checked = false) => h("label", { class: "row small" }, h("input", { type: "checkbox", "data-testid": testid, props: { checked }, on: { change } }), text);
    this.text = h("pre", { class: "code log", tabindex: "0", role: "log", "aria-label": "Output", "aria-live": "off", "data-testid": "logs" });
    this.note = h("p", { class: "quiet small", role: "status" });
    this.follow = check("Follow", "log-follow", () => this.#toEnd(), true);
    this.times = check("Times", "log-times", () => this.begin());
    this.wrap = check("Wrap", "log-wrap", () => this.text.classList.toggle("no-wrap", !this.wrap.firstChild.checked), true);
    this.find = h("input", { type: "search", "data-search": true, class: "log-find", placeholder: "Find", "aria-label": "Find in the log", spellcheck: "false", "data-testid": "log-find", on: { input: debounce(() => this.#search(true), TYPED), keydown: (event) => this.#key(event) } });
    this.count = h("span", { class: "quiet small", "data-testid": "log-found", role: "status" });
    this.from = h("input", { class: "log-since", placeholder: "15 min, 2 h", "aria-label": "Since, for example 15 min", title: "Since: 15 min, 2 h, 3 d or a date", spellcheck: "false", autocomplete: "off", "data-testid": "log-since", on: { change: () => this.#sinceChanged() } });
    const step = (label, symbol, by) => h("button", { type: "button", class: "tiny square bare", "aria-label": label, title: label, on: { click: () => this.#step(by) } }, symbol);
    this.element = box("Logs", [this.follow, this.times, this.wrap, copyButton(() => this.#lines.text), h("button", { type: "button", class: "tiny", "data-testid": "log-download", on: { click: () => this.#download().catch(toastError) } }, icon("down"), "Download")],
      h("div", { class: "body stack" },
        h("div", { class: "row wrap" }, h("label", { class: "row small" }, "Since", this.from), h("span", { class: "row" }, this.find, step("The match before", "↑", -1), step("The next match", "↓", 1), this.count)),
        this.note, this.text));
    this.text.addEventListener("scroll", () => {
      if (this.follow.firstChild.checked && !this.#atEnd()) this.follow.firstChild.checked = false; // the reader went up to read
    });
  }

  #atEnd() {
    return this.text.scrollHeight - this.text.scrollTop - this.text.clientHeight < NEAR;
  }

  #toEnd() {
    if (this.follow.firstChild.checked) this.text.scrollTop = this.text.scrollHeight;
  }

  #options() {
    return `${this.times.firstChild.checked ? "&timestamps=1" : ""}${this.#since ? `&since=${this.#since.toFixed(3)}` : ""}`;
  }

  /** From the last lines on, in the form that is chosen now. */
  async begin() {
    this.#turn += 1;
    this.#lines.clear();
    this.#next = "";
    this.follow.firstChild.checked = true;
    await this.read();
  }

  async read() {
    const turn = this.#turn;
    const first = !this.#next;
    try {
      const answer = await api.get(`${path(this.id, "logs")}?${first ? `tail=${LINES}` : `after=${encodeURIComponent(this.#next)}`}${this.#options()}`);
      if (turn !== this.#turn || (!first && answer.next === this.#next && !answer.text)) return;
      this.#next = answer.next;
      this.#lines.add(answer.text);
      const follow = this.follow.firstChild.checked;
      setText(this.text, this.#lines.text);
      const before = this.#lines.dropped ? "Older lines are left out here; a download has them. " : "";
      setText(this.note, this.#lines.text ? before : this.#since ? "Nothing was written since then." : "Nothing was written to its standard output or error yet.");
      this.follow.firstChild.checked = follow;
      this.#toEnd();
      this.#search(false);
    } catch (error) {
      setText(this.note, `${error.message} ${error.hint ?? ""}`);
    }
  }

  #sinceChanged() {
    const since = parseSince(this.from.value);
    this.from.setAttribute("aria-invalid", Number.isNaN(since));
    if (Number.isNaN(since)) {
      setText(this.note, "That is no time. Write for example 15 min, 2 h, 3 d or 2026-01-31 12:00.");
      return;
    }
    this.#since = since;
    this.begin();
  }

  #key(event) {
    if (event.key === "Enter") this.#step(event.shiftKey ? 1 : -1);
    else if (event.key === "Escape" && this.find.value) this.find.value = "";
    else return;
    event.preventDefault();
    this.#search(false);
  }

  /** Marks what is wanted; ``jump``: begins at the newest. */
  #search(jump) {
    const wanted = this.find.value;
    this.#found = findAll(this.#lines.text, wanted);
    if (jump || this.#at >= this.#found.length) this.#at = this.#found.length - 1;
    const ranges = this.#found.map((at) => this.#range(at, wanted.length));
    CSS.highlights?.set("log-found", new Highlight(...ranges));
    this.#show(jump);
  }

  #range(at, length) {
    const range = new Range();
    range.setStart(this.text.firstChild, at);
    range.setEnd(this.text.firstChild, Math.min(at + length, this.text.firstChild.length));
    return range;
  }

  #step(by) {
    if (!this.#found.length) return;
    this.#at = (this.#at + by + this.#found.length) % this.#found.length;
    this.#show(true);
  }

  #show(scroll) {
    const { length } = this.#found;
    setText(this.count, this.find.value ? (length ? `${this.#at + 1} of ${length === MOST_FOUND ? `the last ${length}` : length}` : "not found") : "");
    CSS.highlights?.delete("log-at");
    if (!length) return;
    const range = this.#range(this.#found[this.#at], this.find.value.length);
    CSS.highlights?.set("log-at", new Highlight(range));
    if (!scroll) return;
    const place = range.getBoundingClientRect();
    const frame = this.text.getBoundingClientRect();
    if (place.top < frame.top || place.bottom > frame.bottom) this.text.scrollTop += place.top - frame.top - frame.height / 2;
  }

  async #download() {
    const answer = await api.get(`${path(this.id, "logs")}?tail=${WHOLE}${this.#options()}`);
    const url = URL.createObjectURL(new Blob([answer.text], { type: "text/plain" }));
    h("a", { href: url, download: `${store.containers.get(this.id)?.name ?? this.id}.log` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 1000);
  }

  close() {
    for (const name of ["log-found", "log-at"]) CSS.highlights?.delete(name);
  }
}

export async function open(panel, { id }) {
  const view = new LogView(id);
  panel.replaceChildren(view.element);
  await view.read();
  const stop = repeat(() => view.read(), EVERY);
  return () => {
    stop();
    view.close();
  };
}
