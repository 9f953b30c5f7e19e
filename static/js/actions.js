// What can be done to a container: one table for rows, headers, keys and the palette.

import { api } from "./api.js";
import { h } from "./dom.js";
import { ask, toast, toastError } from "./feedback.js";
import { living } from "./lib/container_facts.js";
import { dependence, isolationOf } from "./lib/sharing.js";
import { store } from "./store.js";

const busy = new Map(); // id → {name, over}: the request under way, and the promise of its end

/** name → {label, icon, key, when(container), done: sentence, undo: name} */
export const ACTIONS = {
  terminal: { label: "Terminal", icon: "terminal", key: "t", when: (c) => c.state === "running" },
  toolbox: { label: "Toolbox", icon: "gear", key: "b", when: (c) => c.state === "running" },
  start: { label: "Start", icon: "play", key: "s", when: (c) => ["created", "exited"].includes(c.state) && !c.restarting, done: "started" },
  stop: { label: "Stop", icon: "stop", key: "s", when: (c) => living(c) || c.restarting, done: "stopped", undo: "start" },
  pause: { label: "Pause", icon: "pause", key: "p", when: (c) => c.state === "running", done: "paused", undo: "resume" },
  resume: { label: "Resume", icon: "play", key: "p", when: (c) => c.state === "paused", done: "resumed" },
  restart: { label: "Restart", icon: "restart", key: "r", when: (c) => living(c) || c.restarting, done: "restarted" },
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

/** Something may run in it: its engine asks for force then. */
const mayRun = (container) => living(container) || container.restarting || container.state === "unknown";

/** "web-1 shares net with db, cache": what else is touched when this one goes */
function impact(container) {
  return isolationOf(container, store.groups).filter((part) => part.others.length).map((part) => `${part.type} is shared with ${part.others.join(", ")}`);
}

async function confirmRemoval(container) {
  const shared = impact(container);
  const leaning = await dependents(container);
  return ask(`Remove ${container.name}?`, [
    h("p", null, living(container) ? "It is running: its processes are killed, and its files and log are deleted." : mayRun(container) ? "What runs in it is killed, and its files and log are deleted." : "Its files and log are deleted."),
    leaning.length ? warning(container, leaning) : shared.length ? h("p", { class: "quiet" }, `Mind: ${shared.join("; ")}.`) : null,
  ], "Remove");
}

/** Containers that run in namespaces which this one made, in the order in which they can be restarted. */
async function dependents(container) {
  if (!living(container)) return [];
  const { items } = await api.get(`/containers/${encodeURIComponent(container.id)}/dependents`);
  return items.filter((one) => one.attached && living(one));
}

function warning(container, leaning) {
  return h("div", { class: "stack", "data-testid": "dependents" }, h("p", null, `Others lean on ${container.name}:`), h("ul", null, leaning.map((one) => h("li", null, h("b", null, one.name), `: ${dependence(one.types)}`))));
}

/** → {agreed, rejoin}: asks only when others lean on it */
async function agree(container, name) {
  const leaning = ["stop", "kill", "restart"].includes(name) ? await dependents(container) : [];
  if (!leaning.length) return { agreed: true, rejoin: false };
  const again = h("input", { type: "checkbox", "data-testid": "rejoin", props: { checked: true } });
  const { label } = ACTIONS[name];
  const agreed = await ask(`${label} ${container.name}?`, [warning(container, leaning), name === "restart" ? h("label", { class: "row" }, again, "Restart them too, so that they join again") : null], label);
  return { agreed, rejoin: name === "restart" && again.checked };
}

async function rejoin(container) {
  const { items } = await api.post(`/containers/${encodeURIComponent(container.id)}/dependents/rejoin`, {});
  const failed = items.filter((one) => one.error);
  if (failed.length) toast(`${failed.map((one) => one.name).join(", ")} could not join again.`, { tone: "bad", hint: failed[0].error });
  else if (items.length) toast(`${items.map((one) => one.name).join(", ")} joined again.`);
}

async function remove(container) {
  if (!(await confirmRemoval(container))) return;
  await api.delete(`/containers/${encodeURIComponent(container.id)}${mayRun(container) ? "?force=1" : ""}`);
  store.drop(container.id);
  toast(`${container.name} was removed.`);
}

async function change(container, name) {
  const action = ACTIONS[name];
  const answer = await agree(container, name);
  if (!answer.agreed) return;
  await store.put(api.post(`/containers/${encodeURIComponent(container.id)}/${name}`, {}));
  toast(`${container.name} was ${action.done}.`, { action: action.undo ? { label: ACTIONS[action.undo].label, run: () => perform(container.id, action.undo) } : null });
  if (answer.rejoin) await rejoin(container);
}

/**
 * Does it, says how it went. → true when it was done
 *
 * No second one beside it: what is chosen meanwhile comes after it. The list may show what an action has done before its answer comes.
 */
export async function perform(id, name) {
  while (busy.has(id)) {
    if (busy.get(id).name === name) return false; // it was pressed twice
    await busy.get(id).over;
  }
  const container = store.containers.get(id);
  if (!container || !ACTIONS[name]) return false;
  if (name === "terminal" || name === "toolbox") {
    location.assign(containerUrl(id, name));
    return true;
  }
  let end;
  busy.set(id, { name, over: new Promise((resolve) => (end = resolve)) });
  store.dispatchEvent(new CustomEvent("busy", { detail: { id, busy: true } }));
  try {
    await (name === "remove" ? remove(container) : change(container, name));
    return true;
  } catch (error) {
    toastError(error);
    return false;
  } finally {
    busy.delete(id);
    end();
    store.dispatchEvent(new CustomEvent("busy", { detail: { id, busy: false } }));
  }
}
