// What the tabs of a container's page are made of.

import { api } from "../api.js";
import { errorState, h, skeleton } from "../dom.js";

export const path = (id, part) => `/containers/${encodeURIComponent(id)}/${part}`;
export const box = (title, tools, ...content) => h("section", { class: "panel-box", "aria-label": title }, h("header", null, h("h2", null, title), h("div", { class: "tools wrap" }, tools)), content);
export const table = (label, heads, rows) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}, table` }, h("table", null, h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col", class: head === "Actions" ? "acts" : /^(P?PID|RSS|CPU|Threads|Inode)/.test(head) ? "num" : null }, head)))), h("tbody", null, rows)));

/** Fetches, draws; on failure says so with "Try again". */
export async function fetched(panel, url, draw, lines = 6) {
  panel.replaceChildren(h("div", { class: "panel-box" }, skeleton(lines)));
  const attempt = async () => {
    try {
      panel.replaceChildren(draw(await api.get(url)));
    } catch (error) {
      panel.replaceChildren(errorState(error, attempt));
    }
  };
  await attempt();
}
