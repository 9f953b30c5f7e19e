// Presets of limits: a menu to choose one from, and keeping the present limits as a new one.

import { api } from "./api.js";
import { h, icon } from "./dom.js";
import { askText, toast, toastError } from "./feedback.js";
import { limitsWords } from "./lib/limits.js";

/** A menu at the anchor → the chosen preset, or null. table: of limits, for their words */
export async function choosePreset(anchor, table) {
  let presets;
  try {
    presets = (await api.get("/presets")).items;
  } catch (error) {
    toastError(error);
    return null;
  }
  return new Promise((resolve) => {
    let chosen = null;
    const item = (preset) => h("button", { type: "button", role: "menuitem", tabindex: "-1", "data-testid": `preset-${preset.name}`, on: { click: () => { chosen = preset; menu.hidePopover(); } } },
      icon("sliders"), h("span", { class: "grow" }, h("b", null, preset.name), h("span", { class: "hint" }, limitsWords(table, preset.limits))));
    const menu = h("div", { class: "popover presets", role: "menu", popover: "auto", "aria-label": "Presets of limits", "data-testid": "preset-menu" },
      presets.length ? presets.map(item) : h("p", { class: "quiet" }, "No presets are kept yet."));
    menu.addEventListener("toggle", (event) => {
      if (event.newState !== "closed") return;
      menu.remove();
      anchor.focus();
      resolve(chosen);
    });
    menu.addEventListener("keydown", (event) => {
      const items = [...menu.querySelectorAll("button")];
      const at = items.indexOf(document.activeElement);
      const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
      if (next === undefined) return;
      event.preventDefault();
      items[(next + items.length) % items.length].focus();
    });
    document.body.append(menu);
    menu.showPopover();
    const box = anchor.getBoundingClientRect();
    const below = box.bottom + menu.offsetHeight + 8 < innerHeight;
    Object.assign(menu.style, { position: "fixed", inset: "auto", margin: "0", top: `${below ? box.bottom + 4 : Math.max(8, box.top - menu.offsetHeight - 4)}px`, left: `${Math.max(8, Math.min(box.left, innerWidth - menu.offsetWidth - 8))}px` });
    menu.querySelector("button")?.focus();
  });
}

/** Asks for a name and keeps these limits under it. */
export async function savePreset(table, limits) {
  const send = (name) => api.post("/presets", { name, limits });
  if (await askText("Keep these limits as a preset", "Name", { hint: limitsWords(table, limits), agree: "Keep it", send })) toast("The preset is kept.");
}
