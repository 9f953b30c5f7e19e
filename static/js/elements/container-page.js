// One container: its state and actions above, tabs below. A tab changes the address, not the page.

import { ACTIONS, available, containerUrl, perform } from "../actions.js";
import { openMenu } from "../action_menu.js";
import { rename } from "../changes.js";
import { dotState, driftMark, ending, showDrift } from "../container_state.js";
import { emptyState, errorState, h, icon, pageData, setAttribute, setText } from "../dom.js";
import { living } from "../lib/container_facts.js";
import { listen, store } from "../store.js";
import { TABS } from "../tabs.js";

const LOADERS = {
  "container-overview": () => import("./container-overview.js"),
  "limits-panel": () => import("./limits-panel.js"),
  "terminal-view": () => import("./terminal-view.js"),
};
const QUICK = ["terminal", "start", "stop", "pause", "resume", "restart"];

class ContainerPage extends HTMLElement {
  #abort = new AbortController();
  #tidy = null;
  #tab = null;
  #opened = 0;

  connectedCallback() {
    this.data = pageData();
    this.id_ = this.data.container.id;
    if (new URLSearchParams(location.search).has("window")) document.body.classList.add("windowed");
    this.dot = h("i", { class: "dot", role: "img" });
    this.state = h("span", { class: "quiet", "data-testid": "container-state" });
    this.engine = h("span", { class: "badge" });
    this.drift = driftMark("a");
    this.drift.href = this.#url("limits");
    this.health = h("span", { class: "badge", hidden: true, "data-testid": "container-health" });
    this.actions = h("div", { class: "tools", "data-testid": "container-actions" });
    this.heading = h("h1", { class: "clip" });
    this.panel = h("div", { role: "tabpanel", id: "tabpanel", tabindex: "0", class: "tabpanel stack" });
    this.tabs = h("div", { role: "tablist", class: "tabs", "aria-label": "About this container" }, Object.entries(TABS).map(([name, tab]) => h("a", { role: "tab", id: `tab-${name}`, href: this.#url(name), "aria-controls": "tabpanel", "data-testid": `tab-${name}`, dataset: { tab: name }, tabindex: "-1" }, icon(tab.icon), h("span", null, tab.label))));
    this.stale = h("div", { class: "banner warn", role: "status", hidden: true, "data-testid": "container-stale" }, icon("warning"), h("p"));
    this.append(h("nav", { class: "crumbs small", "aria-label": "Where you are" }, h("a", { href: "/containers/" }, "Containers")),
      h("div", { class: "page-head cpage-head" }, this.dot, this.heading, this.engine, this.health, this.state, this.drift, this.actions), this.stale, this.tabs, this.panel);
    this.#wire();
    this.#draw();
    this.#show(TABS[this.data.tab] ? this.data.tab : "overview");
  }

  disconnectedCallback() {
    this.#abort.abort();
    this.#tidy?.();
  }

  get container() {
    return store.containers.get(this.id_);
  }

  #url(tab) {
    return containerUrl(this.id_, tab === "overview" ? "" : tab);
  }

  #wire() {
    const { signal } = this.#abort;
    this.tabs.addEventListener("click", (event) => {
      const tab = event.target.closest("[data-tab]")?.dataset.tab;
      if (!tab || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.#go(tab);
    });
    this.tabs.addEventListener("keydown", (event) => {
      const names = Object.keys(TABS);
      const at = names.indexOf(this.#tab);
      const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: names.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      this.#go(names[(next + names.length) % names.length]);
      this.tabs.querySelector("[aria-selected=true]").focus();
    });
    addEventListener("popstate", () => this.#show(this.#fromUrl()), { signal });
    document.addEventListener("keydown", (event) => this.#key(event), { signal });
    listen(signal, "containers", ({ changed, removed }) => {
      if (removed.includes(this.id_)) this.#gone();
      else if (changed.includes(this.id_)) this.#draw();
    });
    listen(signal, "busy", ({ id, busy }) => id === this.id_ && setAttribute(this.actions, "aria-busy", busy ? "true" : null));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select, .xterm") || document.querySelector("dialog[open]")) return;
    const tab = /^[1-9]$/.test(event.key) ? Object.keys(TABS)[Number(event.key) - 1] : null;
    if (tab) this.#go(tab);
    else if (event.key === "F2" && this.container) rename(this.container);
    else return;
    event.preventDefault();
  }

  #fromUrl() {
    const tab = location.pathname.split("/").filter(Boolean)[2];
    return TABS[tab] ? tab : "overview";
  }

  #go(tab) {
    if (tab === this.#tab) return;
    history.pushState(null, "", this.#url(tab));
    this.#show(tab);
  }

  async #show(name) {
    const turn = (this.#opened += 1);
    this.#tidy?.();
    this.#tidy = null;
    this.#tab = name;
    for (const tab of this.tabs.children) {
      const selected = tab.dataset.tab === name;
      tab.setAttribute("aria-selected", selected);
      tab.tabIndex = selected ? 0 : -1;
    }
    this.tabs.querySelector("[aria-selected=true]").scrollIntoView({ block: "nearest", inline: "nearest" });
    this.panel.setAttribute("aria-labelledby", `tab-${name}`);
    this.panel.dataset.tab = name;
    const { element, load } = TABS[name];
    let { open } = TABS[name];
    const context = { id: this.id_, name: this.container?.name ?? this.data.container.name, limits_table: this.data.limits_table ?? [], toolbox: name === "toolbox" };
    try {
      if (element && !customElements.get(element)) await LOADERS[element]();
      if (load) ({ open } = await load());
    } catch {
      if (turn === this.#opened) this.panel.replaceChildren(errorState({ message: "This tab's code could not be fetched.", hint: "Load the page again." }));
      return;
    }
    if (turn !== this.#opened) return;
    if (element) {
      const view = document.createElement(element);
      this.panel.replaceChildren(view);
      view.open(context);
      return;
    }
    const part = h("div", { class: "stack" });
    this.panel.replaceChildren(part);
    const tidy = await open(part, context);
    if (turn === this.#opened) this.#tidy = tidy ?? null;
    else tidy?.();
  }

  #draw() {
    const { container } = this;
    if (!container) return;
    document.title = `${container.name} · Terrarium`;
    setText(this.heading, container.name);
    setAttribute(this.dot, "data-state", dotState(container));
    setAttribute(this.dot, "aria-label", container.state);
    setAttribute(this.engine, "data-engine", container.engine);
    setText(this.engine, container.engine);
    this.health.hidden = !container.health;
    setText(this.health, container.health);
    this.health.className = `badge ${{ healthy: "good", unhealthy: "bad" }[container.health] ?? "warn"}`;
    setAttribute(this, "data-stale", container.stale ? "true" : null);
    this.stale.hidden = !container.stale;
    setText(this.stale.lastChild, `${container.engine} does not answer. All that is shown here is as last seen, and nothing can be done to ${container.name} until it does.`);
    setText(this.state, living(container) ? container.state : ending(container));
    showDrift(this.drift, container);
    const names = available(container).filter((name) => QUICK.includes(name) && !["terminal", "toolbox"].includes(name));
    const shape = container.state;
    if (this.shape === shape) return;
    this.shape = shape;
    this.actions.replaceChildren(
      ...names.map((name) => h("button", { type: "button", "data-testid": `action-${name}`, on: { click: () => perform(this.id_, name) } }, icon(ACTIONS[name].icon), ACTIONS[name].label)),
      h("button", { type: "button", class: "danger", "data-testid": "action-remove", on: { click: () => perform(this.id_, "remove") } }, icon("trash"), "Remove"),
      h("button", { type: "button", class: "square bare", "aria-label": "More actions", "aria-haspopup": "menu", on: { click: (event) => openMenu(this.container, event.currentTarget) } }, icon("more")));
  }

  #gone() {
    this.#opened += 1;
    this.#tidy?.();
    this.#tidy = null;
    this.actions.replaceChildren();
    setAttribute(this.dot, "data-state", "unknown");
    setText(this.state, "removed");
    this.tabs.hidden = true;
    this.panel.replaceChildren(h("div", { class: "panel-box", "data-testid": "container-gone" }, emptyState("trash", "This container was removed", "Its processes, mounts and cgroups are gone from the host.", h("a", { class: "button primary", href: "/containers/" }, "Back to the list"))));
  }
}

customElements.define("container-page", ContainerPage);
