// The tab "Processes": a tree of them, a signal to the first, and a running one of the host put in beside them.

import { api } from "../api.js";
import { emptyState, errorState, h, icon, skeleton } from "../dom.js";
import { askText, toast } from "../feedback.js";
import { joinCommand } from "../lib/argv.js";
import * as format from "../lib/format.js";
import { repeat } from "../lib/timing.js";
import { treeLines } from "../lib/tree.js";
import { store } from "../store.js";
import { box, path, table } from "./parts.js";

const EVERY = 2000; // ms
const HEADS = ["PID on the host", "PID inside", "UID", "State", "CPU time", "RSS", "Threads", "Command"];

function row({ item: process, branch, depth }) {
  return h("tr", { "data-testid": "process", "data-depth": depth },
    h("td", { class: "num mono" }, process.pid), h("td", { class: "num mono" }, process.ns_pid ?? format.UNKNOWN), h("td", { class: "mono" }, process.uid), h("td", null, process.state ?? ""),
    h("td", { class: "num" }, process.cpu_seconds == null ? format.UNKNOWN : `${process.cpu_seconds.toFixed(1)} s`), h("td", { class: "num" }, format.bytes(process.rss)), h("td", { class: "num" }, process.threads ?? ""),
    h("td", { class: "mono clip command", title: `parent: ${process.ppid}` }, h("span", { class: "branch", "aria-hidden": "true" }, branch), process.argv?.length ? joinCommand(process.argv) : `[${process.name}]`));
}

async function sendSignal(id, name) {
  const send = (signal) => api.post(`/containers/${encodeURIComponent(id)}/kill`, { signal });
  if (await askText(`Send a signal to ${name}`, "Signal", { value: "HUP", agree: "Send", hint: "A name or a number, for example HUP, USR1 or 15. Its first process gets it.", send })) toast("The signal was sent.");
}

async function addProcess(id, name, read) {
  const send = (text) => api.post(path(id, "processes"), { pid: Number(text) });
  const hint = "Its number on the host, as ps shows it there. It goes into the control groups: from then on it shares the container's limits and its end. Into namespaces a process goes by its own setns(2) only.";
  if (!(await askText(`Add a running process to ${name}`, "Process on the host", { agree: "Add it", hint, send }))) return;
  toast("The process shares its limits now.");
  await read();
}

export async function open(panel, { id, name }) {
  panel.replaceChildren(h("div", { class: "panel-box" }, skeleton(6)));
  const { staff } = await api.get("/me").catch(() => ({ staff: false }));
  const count = h("span", { class: "quiet small", "data-testid": "process-count" });
  const signal = h("button", { type: "button", class: "tiny", "data-testid": "send-signal", on: { click: () => sendSignal(id, name) } }, icon("kill"), "Send a signal …");
  const add = staff ? h("button", { type: "button", class: "tiny", "data-testid": "add-process", on: { click: () => addProcess(id, name, draw) } }, icon("plus"), "Add a running process …") : null;
  const list = h("div");
  const whole = box("Processes", [count, signal, add], list);
  async function draw() {
    try {
      const { items } = await api.get(path(id, "processes"));
      const running = store.containers.get(id)?.state === "running";
      for (const button of [signal, add]) if (button) button.disabled = !running;
      count.textContent = format.plural(items.length, "process", "processes");
      const scroll = list.firstChild?.scrollLeft ?? 0;
      const focused = list.contains(document.activeElement);
      list.replaceChildren(items.length ? table("Processes", HEADS, treeLines(items, (one) => one.pid, (one) => one.ppid).map(row)) : emptyState("ns-pid", "No processes", "The container isn't running. Start it to see them."));
      list.firstChild.scrollLeft = scroll;
      if (focused) list.firstChild.focus({ preventScroll: true });
    } catch (error) {
      list.replaceChildren(h("div", { class: "body" }, errorState(error, draw)));
    }
  }
  await draw();
  panel.replaceChildren(whole);
  return repeat(draw, EVERY);
}
