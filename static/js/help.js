// "?": every key of the panel.

import { h } from "./dom.js";

const KEYS = {
  Everywhere: [["Ctrl K", "search pages, containers, actions"], ["/", "search or filter this page"], ["?", "this help"], ["Esc", "close, clear"]],
  Containers: [["↓ ↑ or j k", "move"], ["Enter", "open"], ["n", "new sandbox"], ["t", "terminal"], ["s", "start or stop"], ["p", "pause or resume"], ["r", "restart"], ["Shift K", "kill"], ["x", "remove"], ["Space, Shift click", "select"], ["*", "select all shown"]],
  "Container page": [["1 … 9", "the first nine tabs, from left to right"], ["F2", "rename"], ["← →", "next tab, when on the tabs"]],
  Limits: [["← →", "a step of a slider"], ["Page Up, Page Down", "a larger step"], ["Home, End", "to the ends"], ["Enter", "take what was typed beside it"]],
  Namespaces: [["g", "graph"], ["t", "table"], ["h", "show or hide the host's own"], ["← ↑ ↓ →", "move between nodes"], ["Enter", "pin a node"]],
  Logs: [["/", "find"], ["Enter / Shift Enter", "next match, the one before"]],
  Terminal: [["Ctrl Shift F", "search the output"], ["Ctrl Shift C / V", "copy / paste"], ["Ctrl Insert / Shift Insert", "copy / paste"]],
};
const FILTER = "name · state:running · engine:raw|docker · image:busybox · owner:kim · cpu>5% · memory>64M · pids>10 · ns:net (uses the host's) · shared:pid · -word (not)";

export function openHelp() {
  if (document.querySelector("dialog.help")) return;
  const rows = Object.entries(KEYS).map(([section, keys]) => [h("h3", null, section), h("dl", { class: "keys" }, keys.map(([key, text]) => [h("dt", null, h("kbd", null, key)), h("dd", null, text)]))]);
  const dialog = h("dialog", { class: "help", "aria-labelledby": "help-title", "data-testid": "help-dialog" },
    h("header", null, h("h2", { id: "help-title" }, "Keys and filters")),
    h("div", { class: "body stack", tabindex: "0", role: "region", "aria-label": "Keys" }, rows, h("h3", null, "Filter box"), h("p", { class: "quiet" }, FILTER)),
    h("footer", null, h("button", { type: "button", autofocus: true, on: { click: () => dialog.close() } }, "Close")));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}
