// The "…" menu of a container: every action that fits its state, with its key.

import { ACTIONS, available, containerUrl, perform } from "./actions.js";
import { COPIES } from "./copies.js";
import { h, icon } from "./dom.js";
import { toastError } from "./feedback.js";

const TABS = [["limits", "Limits", "sliders"], ["logs", "Logs", "logs"], ["namespaces", "Namespaces", "namespaces"], ["commands", "Show the commands", "terminal"]];

// Fetched when they are asked for: the first page does without.
const share = async (container) => (await import("./create_dialog.js")).openSharing(container);
const rename = async (container) => (await import("./changes.js")).rename(container);

export function openMenu(container, anchor) {
  const close = () => menu.remove();
  const done = (run) => () => {
    close();
    anchor.focus();
    run();
  };
  const item = (text, symbol, run, { key = "", danger = false, testid = null } = {}) => h("button", { type: "button", role: "menuitem", "data-testid": testid, class: danger ? "danger" : null, tabindex: "-1", on: { click: done(run) } }, icon(symbol), h("span", { class: "grow" }, text), key ? h("kbd", null, key) : null);
  const act = (name) => item(ACTIONS[name].label, ACTIONS[name].icon, () => perform(container.id, name), ACTIONS[name]);
  const menu = h("div", { class: "popover", role: "menu", popover: "auto", "aria-label": `Actions for ${container.name}`, "data-testid": "action-menu" },
    available(container).filter((name) => name !== "remove").map(act), container.state === "running" ? item("New sandbox in its namespaces", "link", () => share(container).catch(toastError)) : null,
    item("Rename …", "table", () => rename(container).catch(toastError), { testid: "menu-rename" }), h("hr"),
    TABS.map(([tab, text, symbol]) => item(text, symbol, () => location.assign(containerUrl(container.id, tab)))), h("hr"),
    COPIES[container.engine] ? [COPIES[container.engine].map(([text, symbol, run, testid]) => item(text, symbol, () => Promise.resolve(run(container)).catch(toastError), { testid })), h("hr")] : null, act("remove"));
  menu.addEventListener("toggle", (event) => event.newState === "closed" && close());
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.querySelectorAll("button")];
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (next !== undefined) {
      event.preventDefault();
      items[(next + items.length) % items.length].focus();
    } else if (event.key === "Escape" || event.key === "Tab") {
      close();
      anchor.focus();
    }
    event.stopPropagation();
  });
  document.querySelector("main").append(menu);
  menu.showPopover();
  const box = anchor.getBoundingClientRect();
  const top = box.bottom + menu.offsetHeight + 8 > innerHeight ? Math.max(8, box.top - menu.offsetHeight - 4) : box.bottom + 4;
  Object.assign(menu.style, { position: "fixed", inset: "auto", margin: "0", top: `${top}px`, left: `${Math.max(8, Math.min(box.right - menu.offsetWidth, innerWidth - menu.offsetWidth - 8))}px` });
  menu.firstChild.focus();
}
