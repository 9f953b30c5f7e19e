// Ctrl-K: pages, containers and what can be done to them, found by typing a few letters.

import { ACTIONS, available, containerUrl, perform } from "./actions.js";
import { h, icon } from "./dom.js";
import { listen, store } from "./store.js";

const PAGES = ["Overview", "Containers", "Groups", "Namespaces", "Images", "Networks", "Activity", "Host"];
const MOST = 60; // options shown; typing narrows faster than scrolling

function entries() {
  const list = PAGES.map((page) => ({ text: page, kind: "page", icon: page.toLowerCase(), run: () => location.assign(`/${page.toLowerCase()}/`) }));
  list.push({ text: "New sandbox", kind: "action", icon: "plus", run: () => (document.querySelector("[data-testid=new-sandbox]")?.click() ?? location.assign("/containers/#new")) });
  list.push({ text: "Switch between light and dark", kind: "action", icon: "theme", run: () => document.querySelector("[data-command=theme]").click() });
  list.push({ text: "API documentation", kind: "page", icon: "book", run: () => location.assign("/api/docs/") });
  list.push({ text: "Change password", kind: "page", icon: "key", run: () => location.assign("/password/") });
  for (const container of store.containers.values()) {
    list.push({ text: container.name, kind: `${container.engine} · ${container.state}`, icon: "containers", run: () => location.assign(containerUrl(container.id)) });
  }
  for (const container of store.containers.values()) {
    for (const name of available(container)) list.push({ text: `${ACTIONS[name].label} ${container.name}`, kind: "action", icon: ACTIONS[name].icon, run: () => perform(container.id, name) });
  }
  return list;
}

/** Every typed word must occur; a hit at the beginning counts more. */
function rank(entry, words) {
  const text = entry.text.toLowerCase();
  let score = 0;
  for (const word of words) {
    const at = text.indexOf(word);
    if (at < 0) return -1;
    score += at === 0 ? 3 : text[at - 1] === " " || text[at - 1] === "-" ? 2 : 1;
  }
  return score;
}

export function openPalette() {
  if (document.querySelector("dialog.palette")) return;
  const list = h("div", { role: "listbox", id: "palette-list", "aria-label": "Results" });
  const input = h("input", { type: "text", role: "combobox", "aria-expanded": "true", "aria-controls": "palette-list", "aria-label": "Search pages, containers and actions", placeholder: "Go to, search, or run …", autocomplete: "off", spellcheck: "false", "data-testid": "palette-input" });
  const dialog = h("dialog", { class: "palette", "aria-label": "Search and commands", "data-testid": "palette" }, input, list);
  let shown = [];
  let selected = 0;

  function select(index) {
    selected = Math.max(0, Math.min(index, shown.length - 1));
    [...list.children].forEach((option, position) => option.setAttribute("aria-selected", position === selected));
    input.setAttribute("aria-activedescendant", `palette-${selected}`);
    list.children[selected]?.scrollIntoView({ block: "nearest" });
  }
  function run(entry) {
    dialog.close();
    entry?.run();
  }
  function draw() {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    shown = entries().map((entry) => ({ entry, score: rank(entry, words) })).filter(({ score }) => score >= 0)
      .sort((a, b) => b.score - a.score).slice(0, MOST).map(({ entry }) => entry);
    list.replaceChildren(...shown.map((entry, index) => h("div", { role: "option", id: `palette-${index}`, "aria-selected": "false", on: { click: () => run(entry), pointermove: () => selected !== index && select(index) } },
      icon(entry.icon), h("span", { class: "clip" }, entry.text), h("span", { class: "quiet" }, entry.kind))));
    if (!shown.length) list.replaceChildren(h("div", { role: "option", "aria-selected": "false", "aria-disabled": "true" }, h("span", { class: "quiet" }, "Nothing is called that.")));
    select(0);
  }

  input.addEventListener("input", draw);
  input.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") select(selected + 1);
    else if (event.key === "ArrowUp") select(selected - 1);
    else if (event.key === "Enter") run(shown[selected]);
    else return;
    event.preventDefault();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  const closed = new AbortController();
  dialog.addEventListener("close", () => {
    closed.abort();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  draw();
  if (!store.loaded) listen(closed.signal, "containers", draw); // they are on their way
}
