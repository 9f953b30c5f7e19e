// The tabs of a container's page. Each draws into its panel once it is opened; `open` may return a function that tidies up.

import { api } from "./api.js";
import { copyButton, emptyState, errorState, h, icon, setText, skeleton } from "./dom.js";
import * as format from "./lib/format.js";
import { joinCommand } from "./lib/argv.js";
import { NAMESPACE_LABELS } from "./lib/sharing.js";
import { repeat } from "./lib/timing.js";
import { store } from "./store.js";

const LOG_EVERY = 2000; // ms between reads of the log while it is looked at
const PROCESS_EVERY = 2000;
const LINES = 2000;

const path = (id, part) => `/containers/${encodeURIComponent(id)}/${part}`;
const box = (title, tools, ...content) => h("section", { class: "panel-box", "aria-label": title }, h("header", null, h("h2", null, title), h("div", { class: "tools" }, tools)), content);
const table = (label, heads, rows) => h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${label}, table` }, h("table", null, h("thead", null, h("tr", null, heads.map((head) => h("th", { scope: "col", class: /^(P?PID|RSS|CPU|Threads|Inode)/.test(head) ? "num" : null }, head)))), h("tbody", null, rows)));

/** Fetches, draws; on failure says so with "Try again". */
async function fetched(panel, url, draw, lines = 6) {
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

async function logs(panel, { id }) {
  const text = h("pre", { class: "code log", tabindex: "0", role: "log", "aria-label": "Output", "data-testid": "logs" });
  const empty = h("p", { class: "quiet small" });
  const follow = h("input", { type: "checkbox", props: { checked: true } });
  let last = null;
  let next = "";
  async function read() {
    try {
      const answer = await api.get(`${path(id, "logs")}?${next ? `after=${next}` : `tail=${LINES}`}`);
      next = answer.next;
      if (last !== null && !answer.text) return;
      last = ((last ?? "") + answer.text).split("\n").slice(-LINES - 1).join("\n");
      setText(text, last);
      setText(empty, last ? "" : "Nothing was written to its standard output or error yet.");
      if (follow.checked) text.scrollTop = text.scrollHeight;
    } catch (error) {
      setText(empty, `${error.message} ${error.hint ?? ""}`);
    }
  }
  panel.replaceChildren(box("Logs", [h("label", { class: "row small" }, follow, "Follow"), copyButton(() => last ?? "")], h("div", { class: "body stack" }, empty, text)));
  await read();
  return repeat(read, LOG_EVERY);
}

async function processes(panel, { id }) {
  async function read() {
    const { items } = await api.get(path(id, "processes"));
    if (!items.length) return emptyState("ns-pid", "No processes", "The container isn't running. Start it to see them.");
    const rows = items.map((process) => h("tr", { "data-testid": "process" },
      h("td", { class: "num mono" }, process.pid), h("td", { class: "num mono" }, process.ns_pid ?? format.UNKNOWN), h("td", { class: "num mono" }, process.ppid), h("td", { class: "mono" }, process.uid), h("td", null, process.state ?? ""),
      h("td", { class: "num" }, process.cpu_seconds == null ? format.UNKNOWN : `${process.cpu_seconds.toFixed(1)} s`), h("td", { class: "num" }, format.bytes(process.rss)), h("td", { class: "num" }, process.threads ?? ""),
      h("td", { class: "mono clip command" }, process.argv?.length ? joinCommand(process.argv) : `[${process.name}]`)));
    return box("Processes", h("span", { class: "quiet small" }, format.plural(items.length, "process", "processes")), table("Processes", ["PID on the host", "PID inside", "PPID", "UID", "State", "CPU time", "RSS", "Threads", "Command"], rows));
  }
  await fetched(panel, path(id, "processes"), () => h("div"));
  const draw = async () => {
    try {
      const scroll = panel.querySelector(".scroll")?.scrollTop ?? 0;
      panel.replaceChildren(await read());
      if (panel.querySelector(".scroll")) panel.querySelector(".scroll").scrollTop = scroll;
    } catch (error) {
      panel.replaceChildren(errorState(error, draw));
    }
  };
  await draw();
  return repeat(draw, PROCESS_EVERY);
}

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
  if (typeof value === "object") return h("dl", { class: "facts" }, Object.entries(value).map(([key, inner]) => [h("dt", null, words(key)), h("dd", null, plainValue(inner))]));
  return h("span", { class: /[0-9/_]/.test(String(value)) ? "mono" : null }, String(value));
}

const words = (key) => key.replaceAll("_", " ");

async function security(panel, { id }) {
  await fetched(panel, path(id, "security"), (facts) => box("Security", null, h("div", { class: "body" }, h("dl", { class: "facts", "data-testid": "security" }, Object.entries(facts).map(([key, value]) => [h("dt", null, words(key)), h("dd", null, plainValue(value))])))));
}

async function commands(panel, { id }) {
  await fetched(panel, path(id, "commands"), ({ commands: lines }) => box("The commands that do the same", copyButton(() => lines.join("\n")),
    h("div", { class: "body stack" }, h("p", { class: "hint" }, "What the panel asked of the kernel, as shell commands that you can run yourself as root."),
      h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": "Commands", "data-testid": "commands" }, lines.map((line) => [h("span", { class: line.startsWith("#") ? "comment" : null }, line), "\n"])))));
}

export function eventRow(event, { withName = true } = {}) {
  return h("tr", { "data-testid": "event" }, h("td", { class: "mono quiet nowrap", title: format.dateTime(event.time) }, format.clock(event.time)),
    withName ? h("td", null, h("a", { href: `/containers/${encodeURIComponent(event.container)}/` }, event.name || format.shortId(event.container))) : null,
    withName ? h("td", null, h("span", { class: "badge", "data-engine": event.engine }, event.engine)) : null,
    h("td", null, h("span", { class: `badge ${{ oom: "bad", killed: "warn", created: "good", started: "good" }[event.action] ?? ""}` }, event.action)), h("td", { class: "quiet" }, event.detail));
}

async function events(panel, { id }) {
  store.want("events");
  const body = h("tbody");
  await fetched(panel, `/events?container=${encodeURIComponent(id)}`, ({ items }) => {
    body.replaceChildren(...items.filter((event) => event.container === id).sort((a, b) => b.sequence - a.sequence).map((event) => eventRow(event, { withName: false })));
    return box("Events", h("span", { class: "quiet small" }, "newest first, live"), h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Events, table" }, h("table", null, h("thead", null, h("tr", null, ["Time", "Event", "Detail"].map((head) => h("th", { scope: "col" }, head)))), body)));
  });
  const add = ({ detail }) => detail.container === id && body.prepend(eventRow(detail, { withName: false }));
  store.addEventListener("activity", add);
  return () => store.removeEventListener("activity", add);
}

/** name → {label, icon, open(panel, context) → tidy?, element: lazily fetched custom element with open(context)} */
export const TABS = {
  overview: { label: "Overview", icon: "overview", element: "container-overview" },
  limits: { label: "Limits", icon: "sliders", element: "limits-panel" },
  terminal: { label: "Terminal", icon: "terminal", element: "terminal-view" },
  toolbox: { label: "Toolbox", icon: "gear", element: "terminal-view" },
  logs: { label: "Logs", icon: "logs", open: logs },
  processes: { label: "Processes", icon: "ns-pid", open: processes },
  namespaces: { label: "Namespaces", icon: "namespaces", open: namespaces },
  security: { label: "Security", icon: "shield", open: security },
  commands: { label: "Commands", icon: "book", open: commands },
  events: { label: "Events", icon: "activity", open: events },
};
