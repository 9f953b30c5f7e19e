// The tabs of a container's page. Each draws into its panel once it is opened; `open` may return a function that tidies up.

import { api } from "./api.js";
import { copyButton, h, icon } from "./dom.js";
import { EventRows } from "./event_rows.js";
import * as format from "./lib/format.js";
import { NAMESPACE_LABELS } from "./lib/sharing.js";
import { store } from "./store.js";
import { box, fetched, path, table } from "./tabs/parts.js";

const EVENTS = 500; // rows kept of a container's

function namespaceRow(item) {
  const shared = item.shared_with ?? [];
  return h("tr", { "data-ns": item.type, "data-testid": "namespace-row", "data-type": item.type },
    h("td", null, h("span", { class: "ns-tag" }, icon(`ns-${item.type}`), NAMESPACE_LABELS[item.type])),
    h("td", { class: "num mono" }, item.inode || format.UNKNOWN), h("td", { class: "num mono quiet" }, item.host_inode ?? format.UNKNOWN),
    h("td", null, item.initial ? h("span", { class: "badge warn" }, "the host's") : shared.length ? h("span", { class: "badge" }, icon("link"), "shared") : h("span", { class: "badge good" }, "private"), item.mode && !["private", "host"].includes(item.mode) ? h("span", { class: "quiet small" }, ` ${item.mode}`) : null),
    h("td", null, shared.length ? h("span", { class: "inline-list" }, shared.map((other) => h("a", { href: `/containers/${encodeURIComponent(other.id)}/namespaces/` }, other.name))) : h("span", { class: "faint" }, "nobody else of ours")),
    h("td", { class: "mono quiet" }, item.owner ? String(item.owner).replace(/^ns:/, "") : format.UNKNOWN));
}

async function namespaces(panel, { id }) {
  let initial = {};
  try {
    const graph = await api.get("/namespaces");
    initial = Object.fromEntries(graph.nodes.filter((node) => node.initial).map((node) => [node.type, node.inode]));
  } catch {
    initial = {}; // the table is worth showing without the host's column
  }
  await fetched(panel, path(id, "namespaces"), ({ items }) => box("Namespaces", h("a", { class: "button tiny", href: `/namespaces/?q=${encodeURIComponent(store.containers.get(id)?.name ?? "")}` }, icon("namespaces"), "In the graph"),
    table("Namespaces", ["Type", "Inode", "Inode of the host", "Isolation", "Shared with", "Owner"], items.map((item) => namespaceRow({ ...item, host_inode: initial[item.type] })))));
}

function plainValue(value) {
  if (value === true || value === false) return h("span", { class: `badge ${value ? "good" : ""}` }, value ? "yes" : "no");
  if (value == null || value === "") return h("span", { class: "faint" }, "none");
  if (Array.isArray(value)) return value.length ? h("span", { class: "inline-list" }, value.map((item) => h("code", null, typeof item === "object" ? JSON.stringify(item) : String(item)))) : h("span", { class: "faint" }, "none");
  if (typeof value === "object") return Object.keys(value).length ? h("dl", { class: "facts" }, Object.entries(value).map(([key, inner]) => [h("dt", null, h("code", null, key)), h("dd", null, plainValue(inner))])) : h("span", { class: "faint" }, "none");
  return h("span", { class: /[0-9/_]/.test(String(value)) ? "mono" : null }, String(value));
}

const words = (key) => key.charAt(0).toUpperCase() + key.slice(1).replaceAll("_", " ");

const factList = (facts) => h("dl", { class: "facts even" }, Object.entries(facts).map(([key, value]) => [h("dt", null, words(key)), h("dd", null, plainValue(value))]));

async function security(panel, { id }) {
  await fetched(panel, path(id, "security"), ({ asked, kernel, ...rest }) => box("Security", null, h("div", { class: "body stack", "data-testid": "security" },
    factList(rest), h("h3", null, "Asked for"), factList(asked),
    h("h3", null, "What the kernel says of its first process"), kernel ? factList(kernel) : h("p", { class: "hint" }, "It does not run; what was asked for holds when it starts."))));
}

async function commands(panel, { id }) {
  await fetched(panel, path(id, "commands"), ({ commands: lines }) => box("The commands that do the same", copyButton(() => lines.join("\n")),
    h("div", { class: "body stack" }, h("p", { class: "hint" }, "What the panel asked of the kernel, as shell commands that you can run yourself as root."),
      h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": "Commands", "data-testid": "commands" }, lines.map((line) => [h("span", { class: line.startsWith("#") ? "comment" : null }, line), "\n"])))));
}

async function events(panel, { id }) {
  const rows = new EventRows({ most: EVENTS, container: id, withName: false });
  panel.replaceChildren(box("Events", h("span", { class: "quiet small" }, "newest first, live"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events, table" }, h("table", null, h("thead", null, h("tr", null, ["Time", "Event", "Detail"].map((head) => h("th", { scope: "col" }, head)))), rows.body))));
  const left = new AbortController();
  rows.follow(left.signal);
  return () => left.abort();
}

/** name → {label, icon} and open(panel, context) → tidy?, or load() of a module with such an open, or element: one that is fetched
 * lazily, with open(context). The first nine have the keys 1 … 9. */
export const TABS = {
  overview: { label: "Overview", icon: "overview", element: "container-overview" },
  limits: { label: "Limits", icon: "sliders", element: "limits-panel" },
  terminal: { label: "Terminal", icon: "terminal", element: "terminal-view" },
  toolbox: { label: "Toolbox", icon: "gear", element: "terminal-view" },
  logs: { label: "Logs", icon: "logs", load: () => import("./tabs/logs.js") },
  processes: { label: "Processes", icon: "ns-pid", load: () => import("./tabs/processes.js") },
  namespaces: { label: "Namespaces", icon: "namespaces", open: namespaces },
  security: { label: "Security", icon: "shield", open: security },
  commands: { label: "Commands", icon: "book", open: commands },
  mounts: { label: "Mounts", icon: "ns-mnt", load: () => import("./tabs/mounts.js") },
  network: { label: "Network", icon: "ns-net", load: () => import("./tabs/network.js") },
  exec: { label: "Exec", icon: "play", load: () => import("./tabs/exec.js") },
  events: { label: "Events", icon: "activity", open: events },
};
