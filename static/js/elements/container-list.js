// The page of containers: one live list of every engine's, filtered, sorted, driven by keys.

import { actionForKey, containerUrl, perform } from "../actions.js";
import { openMenu } from "../action_menu.js";
import { api } from "../api.js";
import { ContainerRow } from "../container_row.js";
import { emptyState, h, icon, pageData, setAttribute, setText } from "../dom.js";
import { toastError } from "../feedback.js";
import { plural } from "../lib/format.js";
import { parseQuery } from "../lib/query.js";
import { Selection } from "../selection.js";
import { debounce, throttle } from "../lib/timing.js";
import { listen, store } from "../store.js";

const RESORT = 10; // frames between sorts by a live number, so that rows don't jump about
const TYPED = 80; // ms after a key until the filter is applied
const ARRANGE = 100; // ms between two looks at the order of all rows: in a burst each change would be one, of more and more rows
const NEAR = "200px"; // rows this close to the window are kept up to date too
const COLUMNS = [["name", "Name", "c-name"], ["engine", "Engine", "c-engine"], ["image", "Image", "c-image"], ["cpu", "CPU cores", "c-cpu"], ["memory", "Memory", "c-mem"], ["pids", "Processes", "c-pids"], [null, "Isolation", "c-ns"], [null, "Actions", "acts"]];
const NAMES = new Intl.Collator("en", { numeric: true });
const RANK = { running: 0, paused: 1, created: 2, exited: 3, unknown: 4 };

/** The form is large and most visits don't need it. */
async function openCreateDialog(data) {
  try {
    await (await import("../create_dialog.js")).openCreateDialog(data);
  } catch (error) {
    toastError(error);
  }
}

function recent(id, name) {
  const values = (store.history(id)[name]?.values ?? []).slice(-RESORT).filter((value) => value != null);
  return values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : -1;
}

class ContainerList extends HTMLElement {
  #abort = new AbortController();
  #rows = new Map();
  #visible = new Set();
  #query = parseQuery("");
  #sort = { by: "name", down: false };
  #active = null;
  #selection = new Selection();
  #frames = 0;
  #changed = new Set(); // ids, since the last arranging
  #arrange = throttle(() => {
    for (const id of new Set([...this.#visible, ...this.#changed])) this.#rows.get(id)?.updateIsolation();
    this.#changed.clear();
    this.#selection.draw();
    this.#drawStale();
    this.#order();
    this.#filter(false);
  }, ARRANGE);
  #observer = new IntersectionObserver((entries) => this.#seen(entries), { rootMargin: NEAR });

  connectedCallback() {
    const data = pageData();
    this.data = data;
    const text = new URLSearchParams(location.search).get("q") ?? "";
    this.#query = parseQuery(text);
    this.count = h("span", { class: "sub", "data-testid": "container-count" });
    this.problem = h("span", { class: "error-text", role: "status" });
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the containers", placeholder: "state:running  engine:raw  cpu>5%", value: text, spellcheck: "false", autocomplete: "off" });
    this.heads = COLUMNS.map(([by, label, css]) => this.#head(by, label, css));
    this.body = h("div", { role: "rowgroup", class: "crows" });
    this.empty = h("div", { hidden: true });
    this.grid = h("div", { class: "clist panel-box", role: "grid", "aria-label": "Containers", "aria-readonly": "true", "aria-multiselectable": "true", "data-testid": "container-list" }, h("div", { role: "rowgroup" }, h("div", { role: "row", class: "chead" }, this.heads)), this.body);
    this.stale = h("div", { class: "banner warn", role: "status", hidden: true, "data-testid": "stale-banner" }, icon("warning"), h("p"));
    this.note = h("p", { class: "hint engine-note" });
    this.append(
      h("div", { class: "page-head" }, h("h1", null, "Containers"), this.count,
        h("div", { class: "tools" }, this.problem, h("div", { class: "filter" }, icon("search"), this.search),
          h("button", { type: "button", class: "primary", "data-testid": "new-sandbox", title: "New sandbox (n)", on: { click: () => openCreateDialog(data) } }, icon("plus"), "New sandbox"))),
      this.stale, this.grid, this.empty, this.note, this.#selection.bar);
    this.#drawEngines(data.host?.engines ?? []);
    this.#listen();
    this.#sync([...store.containers.keys()], []);
    if (location.hash === "#new") openCreateDialog(data);
  }

  disconnectedCallback() {
    this.#abort.abort();
    this.#observer.disconnect();
  }

  #head(by, label, css) {
    if (!by) return h("div", { role: "columnheader", class: css }, label);
    const button = h("button", { type: "button", class: "bare", on: { click: () => this.#sortBy(by) } }, label);
    return h("div", { role: "columnheader", class: css, "aria-sort": by === this.#sort.by ? "ascending" : "none", dataset: { by } }, button);
  }

  #listen() {
    const { signal } = this.#abort;
    listen(signal, "containers", ({ changed, removed }) => this.#sync(changed, removed));
    listen(signal, "containers", () => this.#noteEngines());
    listen(signal, "stats", () => this.#tick());
    this.#selection.addEventListener("change", () => this.#drawSelection());
    listen(signal, "busy", ({ id, busy }) => setAttribute(this.#rows.get(id)?.element ?? this, "aria-busy", busy ? "true" : null));
    const filter = debounce(() => this.#filter(), TYPED);
    this.search.addEventListener("input", filter);
    this.search.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.search.value) {
        this.search.value = "";
        this.#filter();
      } else if (event.key === "Enter" || event.key === "ArrowDown") {
        event.preventDefault();
        this.#move(0);
      }
    });
    this.body.addEventListener("click", (event) => this.#click(event));
    this.body.addEventListener("focusin", (event) => this.#activate(event.target.closest(".crow")));
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
  }

  #click(event) {
    const element = event.target.closest(".crow");
    if (!element) return;
    const button = event.target.closest("[data-act]");
    if (event.target.closest(".pick") || event.ctrlKey || event.metaKey || event.shiftKey) {
      this.#selection.toggle(element.dataset.id, { range: event.shiftKey ? this.#shown().map((row) => row.dataset.id) : null });
      return;
    }
    const container = this.#rows.get(element.dataset.id)?.container;
    if (button?.dataset.act === "more") openMenu(container, button);
    else if (button) perform(container.id, button.dataset.act);
    else if (!event.target.closest("a") && !getSelection().toString()) location.assign(containerUrl(container.id));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open], [popover]:popover-open")) return;
    if (event.target.closest?.("input, textarea, select, nav, header")) return;
    const container = this.#rows.get(this.#active?.dataset.id)?.container;
    if (event.key === "n") openCreateDialog(this.data);
    else if (["ArrowDown", "j"].includes(event.key)) this.#move(1);
    else if (["ArrowUp", "k"].includes(event.key)) this.#move(-1);
    else if (event.key === "Home" || event.key === "End") this.#move(event.key === "Home" ? -Infinity : Infinity);
    else if (event.key === " " && container && event.target === this.#active) this.#selection.toggle(container.id);
    else if (event.key === "*") this.#selection.set(this.#shown().map((row) => row.dataset.id));
    else if (event.key === "Escape" && this.#selection.ids.size) this.#selection.clear();
    else if (event.key === "Enter" && container && event.target === this.#active) location.assign(containerUrl(container.id));
    else {
      const name = container && this.contains(document.activeElement) ? actionForKey(container, event.key) : undefined;
      if (!name) return;
      perform(container.id, name);
    }
    event.preventDefault();
  }

  #shown() {
    return [...this.body.children].filter((element) => !element.hidden);
  }

  #drawSelection() {
    this.grid.classList.toggle("selecting", this.#selection.ids.size > 0);
    for (const [id, row] of this.#rows) row.select(this.#selection.ids.has(id));
  }

  #move(step) {
    const shown = this.#shown();
    if (!shown.length) return;
    const at = this.contains(document.activeElement) && this.body.contains(document.activeElement) ? shown.indexOf(this.#active) : -1;
    const next = shown[Math.max(0, Math.min(at < 0 ? 0 : at + step, shown.length - 1))];
    next.focus({ preventScroll: true });
    next.scrollIntoView({ block: "nearest" });
  }

  #activate(element) {
    if (element === this.#active) return;
    for (const [row, index] of [[this.#active, "-1"], [element, "0"]]) {
      if (!row) continue;
      row.setAttribute("tabindex", index);
      for (const inner of row.querySelectorAll("a, button, .pick")) inner.setAttribute("tabindex", index);
    }
    this.#active = element;
  }

  #sync(changed, removed) {
    for (const id of removed) {
      const row = this.#rows.get(id);
      if (!row) continue;
      if (row.element === this.#active) this.#active = null;
      this.#observer.unobserve(row.element);
      this.#visible.delete(id);
      this.#selection.drop(id);
      row.element.remove();
      this.#rows.delete(id);
    }
    const fresh = document.createDocumentFragment();
    for (const id of changed) {
      const container = store.containers.get(id);
      if (!container) continue;
      this.#changed.add(id);
      const row = this.#rows.get(id);
      if (row) row.update(container);
      else {
        const added = new ContainerRow(container);
        this.#rows.set(id, added);
        fresh.append(added.element);
        this.#observer.observe(added.element);
      }
    }
    this.body.append(fresh);
    this.#arrange();
  }

  #drawStale() {
    const engines = [...new Set([...store.containers.values()].filter((container) => container.stale).map((container) => container.engine))];
    this.stale.hidden = !engines.length;
    if (engines.length) setText(this.stale.lastChild, `${engines.join(", ")} does not answer. Its containers are greyed, and as last seen; they come back by themselves when it does. Sandboxes run on.`);
  }

  #seen(entries) {
    for (const entry of entries) {
      const { id } = entry.target.dataset;
      if (entry.isIntersecting) this.#visible.add(id);
      else this.#visible.delete(id);
      if (entry.isIntersecting) this.#rows.get(id)?.updateStats();
    }
  }

  #tick() {
    for (const id of this.#visible) this.#rows.get(id)?.updateStats();
    this.#frames += 1;
    if (this.#query.usesStats) this.#filter(false);
    if (this.#frames % RESORT === 0) {
      if (["cpu", "memory", "pids"].includes(this.#sort.by)) this.#order();
      for (const id of this.#visible) this.#rows.get(id)?.update(store.containers.get(id) ?? this.#rows.get(id).container);
    }
  }

  #sortBy(by) {
    const live = ["cpu", "memory", "pids"].includes(by);
    this.#sort = { by, down: this.#sort.by === by ? !this.#sort.down : live };
    for (const head of this.heads) if (head.dataset.by) head.setAttribute("aria-sort", head.dataset.by !== by ? "none" : this.#sort.down ? "descending" : "ascending");
    this.#order();
  }

  #order() {
    const { by, down } = this.#sort;
    const name = (a, b) => NAMES.compare(a.container.name, b.container.name);
    const live = { cpu: true, memory: true, pids: true }[by];
    const keys = live ? new Map([...this.#rows.keys()].map((id) => [id, recent(id, by)])) : null;
    const compare = (a, b) => {
      const first = live ? keys.get(a.container.id) - keys.get(b.container.id) : by === "name" ? (RANK[a.container.state] - RANK[b.container.state]) || name(a, b) : NAMES.compare(a.container[by], b.container[by]);
      return (down ? -first : first) || name(a, b);
    };
    let place = this.body.firstChild;
    for (const row of [...this.#rows.values()].sort(compare)) {
      if (row.element === place) place = place.nextSibling;
      else this.body.insertBefore(row.element, place);
    }
  }

  #filter(fromReader = true) {
    if (fromReader) {
      this.#query = parseQuery(this.search.value);
      history.replaceState(null, "", this.search.value ? `?q=${encodeURIComponent(this.search.value)}` : location.pathname);
      setText(this.problem, this.#query.problem);
    }
    let shown = 0;
    for (const [id, row] of this.#rows) {
      const hidden = !this.#query.matches({ container: this.#withSharing(row.container), stats: store.stats.get(id) });
      if (row.element.hidden !== hidden) row.element.hidden = hidden;
      if (!hidden) shown += 1;
    }
    this.#drawCount(shown);
  }

  #withSharing(container) {
    if (!this.search.value.includes("shared:")) return container;
    const shared = Object.entries(container.namespaces ?? {}).filter(([type, view]) => (store.groups.get(`${type}:${view.inode}`)?.length ?? 0) > 1).map(([type]) => type);
    return { ...container, shared };
  }

  #drawCount(shown) {
    const total = this.#rows.size;
    const states = [...this.#rows.values()].map((row) => row.container.state);
    const [running, paused, unknown] = ["running", "paused", "unknown"].map((state) => states.filter((other) => other === state).length);
    setText(this.count, shown === total ? `${running} running${paused ? ` · ${paused} paused` : ""} · ${total - running - paused - unknown} stopped${unknown ? ` · ${unknown} not known` : ""}` : `${shown} of ${plural(total, "container")} shown`);
    this.grid.hidden = shown === 0;
    this.empty.hidden = shown > 0;
    if (shown > 0 || this.empty.dataset.total === String(total)) return;
    this.empty.dataset.total = String(total);
    const create = h("button", { type: "button", class: "primary", on: { click: () => openCreateDialog(this.data) } }, icon("plus"), "New sandbox");
    const clear = h("button", { type: "button", on: { click: () => { this.search.value = ""; this.#filter(); } } }, "Clear the filter");
    this.empty.replaceChildren(h("div", { class: "panel-box" }, total
      ? emptyState("search", "Nothing matches the filter", "Every word must hold. Press ? to see what can be written there.", clear)
      : emptyState("containers", "No containers yet", "A sandbox is made straight from kernel parts and runs within a second. Docker containers of this host show up here by themselves.", create)));
  }

  /** One that was away has come, seen by its containers. */
  async #noteEngines() {
    if (![...store.containers.values()].some((container) => this.away.has(container.engine) && !container.stale)) return;
    this.away.clear();
    const host = await api.get("/host").catch(() => null);
    if (host) this.#drawEngines(host.engines);
  }

  #drawEngines(engines) {
    const away = engines.filter((engine) => engine.name !== "raw" && !engine.available && ![...store.containers.values()].some((container) => container.engine === engine.name)); // else the banner says it
    this.note.replaceChildren(...away.map((engine) => h("span", { "data-testid": "engine-away" }, `${engine.name === "docker" ? "Docker" : engine.name} is not running here; sandboxes work without it. ${engine.hint ?? ""} `)));
    this.away = new Set(away.map((engine) => engine.name));
  }
}

customElements.define("container-list", ContainerList);
