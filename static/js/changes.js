// What can change in a container's description while it lives: its name, its restart policy, its labels, what comes back.

import { api } from "./api.js";
import { askText, toast } from "./feedback.js";
import { pairs } from "./lib/pairs.js";
import { store } from "./store.js";

export const RESTART_POLICIES = { no: "no", "on-failure": "on failure", "unless-stopped": "unless stopped", always: "always" };

async function update(container, changes) {
  await store.put(api.patch(`/containers/${encodeURIComponent(container.id)}`, changes));
}

export async function rename(container) {
  const send = (name) => update(container, { name });
  if (await askText(`Rename ${container.name}`, "Name", { value: container.name, agree: "Rename", hint: "It runs on; its host name inside stays as it is.", send })) toast("It has its new name.");
}

export async function setRestart(container, policy) {
  await update(container, { restart: policy });
  toast(policy === "no" ? `${container.name} stays ended when it ends.` : `${container.name} starts again: ${RESTART_POLICIES[policy]}.`);
}

/** Of a Docker container: do those limits come back that Docker's record has no words for? */
export async function setKeepLimits(container, keep) {
  await update(container, { keep_limits: keep });
  toast(keep ? `${container.name} has all its limits again whenever it starts.` : `${container.name} starts with what Docker's own record says.`);
}

export async function editLabels(container) {
  const value = Object.entries(container.labels ?? {}).map(([name, text]) => `${name}=${text}`).join("\n");
  const send = (text) => update(container, { labels: Object.fromEntries(pairs(text)) });
  if (await askText(`Labels of ${container.name}`, "Labels", { value, agree: "Save", hint: "One NAME=value a line.", lines: 6, send })) toast("The labels are saved.");
}
