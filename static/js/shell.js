// The frame of every page: keys, theme, banners about the connection, the count in the navigation.

import "./elements/host-meter.js";
import { h, icon, setText } from "./dom.js";
import { openHelp } from "./help.js";
import { openPalette } from "./palette.js";
import { store } from "./store.js";

const THEMES = { auto: matchMedia("(prefers-color-scheme: dark)").matches ? ["light", "dark"] : ["dark", "light"] };

function switchTheme() {
  const root = document.documentElement;
  const [first, second] = THEMES.auto;
  root.dataset.theme = root.dataset.theme === first ? second : first;
  localStorage.setItem("theme", root.dataset.theme);
  dispatchEvent(new Event("themechange"));
}

const COMMANDS = { palette: openPalette, help: openHelp, theme: switchTheme };

document.addEventListener("click", (event) => {
  const command = event.target.closest?.("[data-command]")?.dataset.command;
  if (command) COMMANDS[command]();
  for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
});

function typing(target) {
  return target.closest?.("input, textarea, select, [contenteditable], .xterm");
}

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "k") {
    if (event.target.closest?.(".xterm")) return; // Ctrl-K belongs to the shell there
    event.preventDefault();
    openPalette();
    return;
  }
  if (event.key === "Escape") for (const menu of document.querySelectorAll("details.menu[open]")) menu.open = false;
  if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target) || document.querySelector("dialog[open]")) return;
  if (event.key === "?") openHelp();
  else if (event.key === "/") {
    event.preventDefault();
    const search = document.querySelector("[data-search]");
    if (search) search.focus();
    else openPalette();
  }
});

const banners = document.getElementById("banners");
const shown = new Map();

function banner(name, tone, text) {
  if (shown.has(name) === Boolean(text)) return;
  shown.get(name)?.remove();
  shown.delete(name);
  if (!text) return;
  const element = h("div", { class: `banner ${tone}`, "data-testid": `banner-${name}` }, icon("warning"), h("p", null, text));
  shown.set(name, element);
  banners.append(element);
}

store.addEventListener("connection", ({ detail: up }) => {
  document.documentElement.classList.toggle("stale", !up);
  banner("connection", "warn", up ? "" : "The panel does not answer; trying again. What you see is the last known state. Sandboxes run on.");
});
store.addEventListener("worker", ({ detail: up }) => {
  document.querySelector("[data-testid=worker-down]")?.remove(); // the server's own banner, from when the page was loaded
  banner("worker", "bad", up ? "" : "The worker is not answering; it is being restarted. Sandboxes run on; changes wait until it is back.");
});

const warned = new Set(); // engines with a banner
/** An engine that does not answer: its containers are as last seen. It heals by itself, and so does this. */
function drawStale() {
  const all = [...store.containers.values()];
  const stale = new Set(all.filter((container) => container.stale).map((container) => container.engine));
  for (const name of new Set([...all.map((container) => container.engine), ...warned])) {
    const count = all.filter((container) => container.stale && container.engine === name).length;
    banner(`engine-${name}`, "warn", stale.has(name) ? `${name} does not answer. What you see of its ${count === 1 ? "container" : `${count} containers`} is as last seen; what ran there may well run on. All else goes on; the panel connects again by itself.` : "");
    if (stale.has(name)) warned.add(name);
    else warned.delete(name);
  }
}
store.addEventListener("containers", drawStale);
drawStale();

function drawCount() {
  if (!store.loaded) return;
  const element = document.querySelector("[data-count=containers]");
  const running = [...store.containers.values()].filter((container) => container.state === "running").length;
  setText(element, String(running));
  element.title = `${running} running`;
}
store.addEventListener("containers", drawCount);
drawCount();
