// xterm and its addons, fetched only when a terminal is opened.

import { FitAddon } from "../npm/@xterm/addon-fit/lib/addon-fit.mjs";
import { WebLinksAddon } from "../npm/@xterm/addon-web-links/lib/addon-web-links.mjs";
import { Terminal } from "../npm/@xterm/xterm/lib/xterm.mjs";
import { withAdoptedStyles } from "./adopted_styles.js";

const SCROLLBACK = 10000; // lines

const LIGHT = { background: "#ffffff", foreground: "#17211c", cursor: "#08704d", cursorAccent: "#ffffff", selectionBackground: "#b9e2d2", black: "#17211c", red: "#b3261e", green: "#117a3d", yellow: "#8a5a00", blue: "#15609e", magenta: "#8a2f9e", cyan: "#0b6b66", white: "#5f6c65", brightBlack: "#5f6c65", brightRed: "#d03a30", brightGreen: "#1b8d4b", brightYellow: "#9a6a0a", brightBlue: "#2276bd", brightMagenta: "#a246b6", brightCyan: "#178079", brightWhite: "#17211c" };
const DARK = { background: "#0a0e0c", foreground: "#dfe7e2", cursor: "#4cc79a", cursorAccent: "#0a0e0c", selectionBackground: "#1f4a3b", black: "#26302b", red: "#ff8078", green: "#51c878", yellow: "#e3b341", blue: "#74b9f4", magenta: "#d9a0f0", cyan: "#4fc9c0", white: "#c5d0ca", brightBlack: "#8b9991", brightRed: "#ffa39d", brightGreen: "#7fdd9d", brightYellow: "#f0cb74", brightBlue: "#9dcffa", brightMagenta: "#e7bff7", brightCyan: "#82ddd6", brightWhite: "#ffffff" };

export function theme() {
  const chosen = document.documentElement.dataset.theme;
  const dark = chosen === "dark" || (chosen !== "light" && matchMedia("(prefers-color-scheme: dark)").matches);
  return dark ? DARK : LIGHT;
}

/** → {terminal, fit} drawn into the element */
export function openXterm(element, { fontSize }) {
  const terminal = new Terminal({ allowProposedApi: true, cursorBlink: !matchMedia("(prefers-reduced-motion: reduce)").matches, fontFamily: getComputedStyle(document.documentElement).getPropertyValue("--mono"), fontSize, lineHeight: 1.15, scrollback: SCROLLBACK, theme: theme(), macOptionIsMeta: true, screenReaderMode: false, minimumContrastRatio: 4.5 });
  const fit = new FitAddon();
  terminal.loadAddon(fit);
  terminal.loadAddon(new WebLinksAddon());
  withAdoptedStyles(() => terminal.open(element));
  return { terminal, fit };
}

/** The search, fetched when it is first asked for. */
export async function loadSearch(terminal) {
  const { SearchAddon } = await import("../npm/@xterm/addon-search/lib/addon-search.mjs");
  const search = new SearchAddon();
  terminal.loadAddon(search);
  return search;
}
