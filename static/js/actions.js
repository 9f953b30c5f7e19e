// What can be done to a container: one table for rows, headers, keys and the palette.

import { api } from "./api.js";
import { h } from "./dom.js";
import { ask, toast, toastError } from "./feedback.js";
import { isolationOf } from "./lib/sharing.js";
import { store } from "./store.js";

const living = (container) => ["running", "paused"].includes(container.state);
const busy = new Set(); // ids with a request under way: no second one beside it

/** name → {label, icon, key, when(container), done: sentence, undo: name} */
export const ACTIONS = {
  terminal: { label: "Terminal", icon: "terminal", key: "t", when: (c) => c.state === "running" },
  start: { label: "Start", icon: "play", key: "s", when: (c) => ["created", "exited"].includes(c.state), done: "started" },
  stop: { label: "Stop", icon: "stop", key: "s", when: living, done: "stopped", undo: "start" },
  pause: { label: "Pause", icon: "pause", key: "p", when: (c) => c.state === "running", done: "paused", undo: "resume" },
  resume: { label: "Resume", icon: "play", key: "p", when: (c) => c.state === "paused", done: "resumed" },
  restart: { label: "Restart", icon: "restart", key: "r", when: living, done: "restarted" },
  kill: { label: "Kill", icon: "kill", key: "K", when: living, done: "killed", undo: "start" },
  remove: { label: "Remove", icon: "trash", key: "x", when: () => true, done: "removed", danger: true },
};

export function available(container) {
  return Object.entries(ACTIONS).filter(([, action]) => action.when(container)).map(([name]) => name);
}

export function actionForKey(container, key) {
  return available(container).find((name) => ACTIONS[name].key === key);
}

export function containerUrl(id, tab = "") {
  return `/containers/${encodeURIComponent(id)}/${tab ? `${tab}/` : ""}`;
}

/** "web-1 shares net with db, cache": what else is touched when this one goes */
function impact(container) {
  return isolationOf(container, store.groups).filter((part) => part.others.length).map((part) => `${part.type} is shared with ${part.others.join(", ")}`);
}

async function confirmRemoval(container) {
  const shared = impact(container);
  return ask(`Remove ${container.name}?`, [
    h("p", null, living(container) ? "It is running: its processes are killed, and its files and log are deleted." : "Its files and log are deleted."),
    shared.length ? h("p", { class: "quiet" }, `Mind: ${shared.join("; ")}.`) : null,
  ], "Remove");
}

async function remove(container) {
  if (!(await confirmRemoval(container))) return;
  await api.delete(`/containers/${encodeURIComponent(container.id)}${living(container) ? "?force=1" : ""}`);
  store.drop(container.id);
  toast(`${container.name} was removed.`);
}

async function change(container, name) {
  const action = ACTIONS[name];
  const result = await api.post(`/containers/${encodeURIComponent(container.id)}/${name}`, {});
  if (result?.id) store.put(result);
  toast(`${container.name} was ${action.done}.`, { action: action.undo ? { label: ACTIONS[action.undo].label, run: () => perform(container.id, action.undo) } : null });
}

/** Does it, says how it went. → true when it was done */
export async function perform(id, name) {
  const container = store.containers.get(id);
  if (!container || !ACTIONS[name]) return false;
  if (name === "terminal") {
    location.assign(containerUrl(id, "terminal"));
    return true;
  }
  if (busy.has(id)) return false;
  busy.add(id);
  store.dispatchEvent(new CustomEvent("busy", { detail: { id, busy: true } }));
  try {
    await (name === "remove" ? remove(container) : change(container, name));
    return true;
  } catch (error) {
    toastError(error);
    return false;
  } finally {
    busy.delete(id);
    store.dispatchEvent(new CustomEvent("busy", { detail: { id, busy: false } }));
  }
}
