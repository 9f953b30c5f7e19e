// Copies of a container: another one like it, an image of its files, its files as a tar; and of Docker's images. All but the tar are jobs.

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

/** A name that an image of the panel can have: "docker.io/library/alpine:3.20" → "alpine:3.20" */
const imageName = (reference) => reference.split("/").at(-1).replace(/@.*/, "");

async function importAs(source, what, value) {
  const send = (name) => api.post("/images", { name, source });
  if (await askText(`Make a sandbox image of ${what}`, "Name of the image", { value, agree: "Copy", hint: "Its layers, owners and settings are copied; the original stays.", send })) toast("The image is being made.", { tone: "info", action: watch });
}

async function importContainer(container) {
  await importAs({ type: "docker-container", container: container.id }, container.name, container.name);
}

export async function copyToSandboxes(image) {
  await importAs({ type: "docker-image", reference: image.name }, image.name, imageName(image.name));
}

/** engine → [text, icon, run, testid] for the menu */
const SANDBOX_COPIES = [["Clone …", "copy", clone, "menu-clone"], ["Make an image …", "images", commit, "menu-commit"], ["Download its files", "down", download, "menu-download"]];
const DOCKER_COPIES = [["Make a sandbox image …", "images", importContainer, "menu-import"], ["Download its files", "down", download, "menu-download"]];
export const COPIES = { raw: SANDBOX_COPIES, docker: DOCKER_COPIES };
