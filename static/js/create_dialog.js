// "New sandbox": the few things that matter first, the rest folded away, and the commands that it comes to below.

import { containerUrl } from "./actions.js";
import { api } from "./api.js";
import { field, input } from "./create/fields.js";
import { LifeFields } from "./create/life.js";
import { LimitFields } from "./create/limits.js";
import { NamespaceFields } from "./create/namespaces.js";
import { NetworkFields } from "./create/network.js";
import { SecurityFields } from "./create/security.js";
import { StorageFields } from "./create/storage.js";
import { h, icon, pageData, setText, visitor } from "./dom.js";
import { toast, toastError } from "./feedback.js";
import { joinCommand, splitCommand } from "./lib/argv.js";
import { freshName } from "./lib/names.js";
import { debounce } from "./lib/timing.js";
import { store } from "./store.js";

const PREVIEW_AFTER = 250; // ms after the last key

class CreateForm {
  constructor({ limits_table: table = [], images = [], networks = [], templates = [], groups = [], host = {} }, preset) {
    const preview = debounce(() => this.#preview(), PREVIEW_AFTER);
    this.touched = preview;
    const taken = new Set([...store.containers.values()].map((container) => container.name));
    this.name = input("name", "", { value: freshName(taken), required: true, maxlength: 63, "data-testid": "create-name", autofocus: true });
    this.image = input("image", "", { value: "busybox", list: "create-images", required: true, "data-testid": "create-image" });
    this.images = h("datalist", { id: "create-images" });
    this.allImages = images;
    this.command = input("command", "the image's own", { "data-testid": "create-command" });
    this.engine = h("select", { name: "engine", "data-testid": "create-engine" }, this.#engines(host.engines ?? []));
    this.template = this.#templates(templates);
    this.namespaces = new NamespaceFields(preview);
    this.limits = new LimitFields(table, { host: host.limits ?? {}, groups }, preview);
    this.sections = [this.namespaces, this.limits, new StorageFields(preview), new NetworkFields(networks, preview), new LifeFields(preview), new SecurityFields(host.uids, preview)];
    this.commands = h("pre", { class: "code preview", tabindex: "0", role: "region", "aria-label": "The commands", "data-testid": "preview" }, "…");
    this.error = h("div", { class: "banner bad", role: "alert", hidden: true, "data-testid": "create-error" }, icon("warning"), h("div", null, h("p"), h("p", { class: "hint" })));
    this.submit = h("button", { type: "submit", class: "primary", "data-testid": "create-sandbox" }, "Create and start");
    const close = () => this.dialog.close();
    this.form = h("form", { method: "dialog", novalidate: true, on: { submit: (event) => this.#create(event), input: () => { this.#drawSubmit(); preview(); } } },
      h("header", null, h("h2", { id: "create-title", class: "grow" }, preset?.title ?? "New sandbox"), this.template, h("button", { type: "button", class: "bare square", "aria-label": "Close", on: { click: close } }, icon("close"))),
      h("div", { class: "body stack" }, this.error,
        h("div", { class: "cols" }, field("Name", this.name), field("Engine", this.engine), field("Image", this.image), field("Command", this.command), this.images),
        this.sections.map((section) => section.element),
        h("div", { class: "stack" }, h("h3", { class: "label" }, "The commands that do the same"), this.commands)),
      h("footer", null, h("button", { type: "button", on: { click: close } }, "Cancel"), this.submit));
    this.dialog = h("dialog", { class: "create", "aria-labelledby": "create-title", "data-testid": "create-dialog" }, this.form);
    this.dialog.addEventListener("close", () => this.#closed());
    this.engine.addEventListener("change", () => this.#engineChanged());
    this.#engineChanged();
    if (preset) this.namespaces.offer(preset.beside);
  }

  /** The browser gives the focus back to what had it; the button of an empty list is gone once there is a sandbox. */
  #closed() {
    this.dialog.remove();
    if (document.activeElement === document.body) document.querySelector("main")?.focus();
  }

  #engines(engines) {
    const list = engines.length ? engines : [{ name: "raw", available: true }];
    const mine = (engine) => engine.name === "raw" || visitor().staff;
    const words = { raw: "raw · straight from the kernel" };
    return list.map((engine) => h("option", { value: engine.name, disabled: !engine.available || !mine(engine) }, (words[engine.name] ?? engine.name) + (!mine(engine) ? " (for staff)" : engine.available ? "" : " (not running here)")));
  }

  #templates(templates) {
    if (!templates.length) return null;
    const choice = h("select", { "aria-label": "Begin with a template", "data-testid": "create-template" }, h("option", { value: "" }, "From a template …"), templates.map((one) => h("option", { value: one.name, title: one.description }, one.name)));
    choice.addEventListener("change", () => {
      const found = templates.find((one) => one.name === choice.value);
      if (found) this.#show(found.spec);
    });
    return choice;
  }

  /** Everything as this description has it; the name stays. */
  #show(spec) {
    this.engine.value = spec.engine ?? "raw";
    this.image.value = spec.image ?? "busybox";
    this.command.value = joinCommand(spec.command ?? []);
    this.#engineChanged();
    this.namespaces.show({ mnt: "private", uts: "private", ipc: "private", pid: "private", net: "bridge", user: "private", cgroup: "private", time: "private", ...spec.namespaces });
    this.limits.show(spec);
    for (const section of this.sections.slice(2)) section.show(spec);
    this.#drawSubmit();
    this.touched();
  }

  #engineChanged() {
    const engine = this.engine.value;
    this.images.replaceChildren(...this.allImages.filter((image) => image.engine === engine).map((image) => h("option", { value: image.name })));
    for (const section of this.sections) section.engineChanged?.(engine);
    this.touched();
  }

  #drawSubmit() {
    setText(this.submit, this.form?.querySelector("[name=start]").checked ? "Create and start" : "Create");
  }

  body() {
    const body = { engine: this.engine.value, name: this.name.value.trim(), image: this.image.value.trim() };
    const command = splitCommand(this.command.value);
    if (command.length) body.command = command;
    for (const section of this.sections) section.read(body);
    return body;
  }

  async #preview() {
    if (!this.dialog.isConnected) return;
    const asked = JSON.stringify(this.body());
    try {
      const { commands } = await api.post("/preview", JSON.parse(asked));
      if (asked === JSON.stringify(this.body())) setText(this.commands, commands.join("\n"));
      this.#showError(null);
    } catch (error) {
      setText(this.commands, `# ${error.message}\n${error.hint ? `# ${error.hint}` : ""}`);
    }
  }

  #showError(error) {
    this.error.hidden = !error;
    if (!error) return;
    const [message, hint] = this.error.querySelectorAll("p");
    setText(message, error.message);
    setText(hint, error.hint ?? "");
    this.name.setAttribute("aria-invalid", ["name_taken", "invalid_name"].includes(error.code));
    this.error.scrollIntoView({ block: "nearest" });
    if (["name_taken", "invalid_name"].includes(error.code)) this.name.focus();
  }

  async #create(event) {
    event.preventDefault();
    if (this.submit.disabled) return;
    const { wrong } = this.limits;
    if (wrong) {
      wrong.closest("details")?.setAttribute("open", "");
      wrong.focus({ preventScroll: true }); // what is wrong with it is said at the top
      this.#showError({ message: `“${wrong.value}” is no value of the limit ${wrong.getAttribute("aria-label").replace(", as a number", "")}.`, hint: "For example 64M for a size, 0.5 for CPUs; nothing for no limit." });
      return;
    }
    this.submit.disabled = true;
    this.submit.setAttribute("aria-busy", "true");
    try {
      const container = await store.put(api.post("/containers", this.body()));
      this.dialog.close();
      toast(`${container.name} is ${container.state}.`, { action: { label: "Open", run: () => location.assign(containerUrl(container.id)) } });
    } catch (error) {
      this.#showError(error);
    } finally {
      this.submit.disabled = false;
      this.submit.removeAttribute("aria-busy");
    }
  }
}

/** data: what the page got: limits_table, images, host. preset: {title, beside}: in whose namespaces it is to be. */
export async function openCreateDialog(data, preset = null) {
  const [templates, networks, groups] = await Promise.all(["/templates", "/networks", "/groups"].map((path) => api.get(path)));
  if (document.querySelector("dialog.create")) return;
  const form = new CreateForm({ ...data, templates: templates.items, networks: networks.items, groups: groups.items }, preset);
  document.body.append(form.dialog);
  form.dialog.showModal();
  form.name.select();
}

/** "New sandbox in its namespaces": the same form, which offers what it has of its own */
export async function openSharing(beside) {
  try {
    const [host, images] = await Promise.all([api.get("/host"), api.get("/images")]);
    await openCreateDialog({ limits_table: pageData().limits_table, images: images.items, host }, { title: `New sandbox beside ${beside.name}`, beside });
  } catch (error) {
    toastError(error);
  }
}
