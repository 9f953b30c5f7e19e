// Copies of a sandbox: another one like it, an image of its files, its files as a tar. All but the last are jobs.

import { api } from "./api.js";
import { askText, toast } from "./feedback.js";

const path = (container, part) => `/containers/${encodeURIComponent(container.id)}/${part}`;
const watch = { label: "Watch", run: () => location.assign("/images/") };

async function clone(container) {
  const send = (name) => api.post(path(container, "clone"), { name });
  if (await askText(`Clone ${container.name}`, "Name of the copy", { value: `${container.name}-copy`, agree: "Clone", hint: "It gets a copy of the files as they are now, and ids and an address of its own.", send })) toast("The copy is being made.", { tone: "info", action: watch });
}

async function commit(container) {
  const send = (image) => api.post(path(container, "commit"), { image });
  if (await askText(`Make an image of ${container.name}`, "Name of the image", { value: container.name, agree: "Make it", hint: "It must be stopped or paused, so that its files hold still.", send })) toast("The image is being made.", { tone: "info", action: watch });
}

function download(container) {
  location.assign(`/api/v1${path(container, "export")}`);
}

/** [text, icon, run, testid] for the menu */
export const COPIES = [["Clone …", "copy", clone, "menu-clone"], ["Make an image …", "images", commit, "menu-commit"], ["Download its files", "down", download, "menu-download"]];
