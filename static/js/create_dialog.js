// "New sandbox": the few things that matter first, the rest folded away, and the commands that it comes to below.

import { api } from "./api.js";
import { h, icon, setText } from "./dom.js";
import { toast } from "./feedback.js";
import { splitCommand } from "./lib/argv.js";
import { freshName } from "./lib/names.js";
import { NAMESPACE_LABELS, NAMESPACE_TYPES } from "./lib/sharing.js";
import { debounce } from "./lib/timing.js";
import { containerUrl } from "./actions.js";
import { rangeBox } from "./range_box.js";
import { store } from "./store.js";

const PREVIEW_AFTER = 250; // ms after the last key
const DEFAULT_MODES = { mnt: "private", uts: "private", ipc: "private", pid: "private", net: "bridge", user: "private", cgroup: "private", time: "private" };
const DEFAULT_LIMITS = { cpu: 0.5, memory: 64 * 2 ** 20, pids: 50 };
const NET_WORDS = { bridge: "own, on the bridge", none: "own, no network", host: "the host's" };
const DOCKER_FIXED = new Set(["mnt", "user", "time"]); // Docker decides these by itself

function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", null, label), control, hint ? h("span", { class: "hint" }, hint) : null);
}

class CreateForm {
  modes = { ...DEFAULT_MODES };
  limits = { ...DEFAULT_LIMITS };

  constructor({ limits_table: table = [], images = [], host = {} }) {
    const preview = debounce(() => this.#preview(), PREVIEW_AFTER);
    this.touched = preview;
    const taken = new Set([...store.containers.values()].map((container) => container.name));
    this.name = h("input", { name: "name", value: freshName(taken), required: true, maxlength: 63, spellcheck: "false", autocomplete: "off", "data-testid": "create-name", autofocus: true });
    this.image = h("input", { name: "image", value: "busybox", list: "create-images", required: true, spellcheck: "false", autocomplete: "off", "data-testid": "create-image" });
    this.images = h("datalist", { id: "create-images" });
    this.allImages = images;
    this.command = h("input", { name: "command", placeholder: "the image's own", spellcheck: "false", autocomplete: "off", "data-testid": "create-command" });
    this.engine = h("select", { name: "engine", "data-testid": "create-engine" }, this.#engines(host.engines ?? []));
    this.hostname = h("input", { name: "hostname", placeholder: "the name", spellcheck: "false" });
    this.user = h("input", { name: "user", placeholder: "0:0", spellcheck: "false" });
    this.cwd = h("input", { name: "cwd", placeholder: "/", spellcheck: "false" });
    this.env = h("textarea", { name: "env", rows: 2, placeholder: "NAME=value, one a line", spellcheck: "false" });
    this.readOnly = h("input", { type: "checkbox", name: "read_only_root" });
    this.start = h("input", { type: "checkbox", name: "start", props: { checked: true } });
    this.commands = h("pre", { class: "code preview", tabindex: "0", role: "region", "aria-label": "The commands", "data-testid": "preview" }, "…");
    this.error = h("div", { class: "banner bad", role: "alert", hidden: true, "data-testid": "create-error" }, icon("warning"), h("div", null, h("p"), h("p", { class: "hint" })));
    this.submit = h("button", { type: "submit", class: "primary", "data-testid": "create-sandbox" }, "Create and start");
    this.toggles = NAMESPACE_TYPES.map((type) => this.#toggle(type));
    const limitRows = table.filter((row) => row.name in DEFAULT_LIMITS).map((row) => this.#limit(row, row.name === "cpu" ? host.cpus : row.name === "memory" ? host.memory_total : 4096));
    const close = () => this.dialog.close();
    this.form = h("form", { method: "dialog", novalidate: true, on: { submit: (event) => this.#create(event), input: preview } },
      h("header", null, h("h2", { id: "create-title", class: "grow" }, "New sandbox"), h("button", { type: "button", class: "bare square", "aria-label": "Close", on: { click: close } }, icon("close"))),
      h("div", { class: "body stack" }, this.error,
        h("div", { class: "cols" }, field("Name", this.name), field("Engine", this.engine), field("Image", this.image), field("Command", this.command), this.images),
        h("fieldset", null, h("legend", null, "Namespaces: its own, or the host's"), h("div", { class: "ns-toggles" }, this.toggles)),
        h("fieldset", { class: "stack" }, h("legend", null, "Limits"), limitRows),
        h("details", null, h("summary", { class: "quiet" }, "More: host name, user, directory, environment, root file system"),
          h("div", { class: "cols more" }, field("Host name", this.hostname), field("User (UID:GID)", this.user), field("Working directory", this.cwd), field("Environment", this.env),
            h("label", { class: "row wide" }, this.readOnly, "Read-only root file system"), h("label", { class: "row wide" }, this.start, "Start it at once"))),
        h("div", { class: "stack" }, h("h3", { class: "label" }, "The commands that do the same"), this.commands)),
      h("footer", null, h("button", { type: "button", on: { click: close } }, "Cancel"), this.submit));
    this.dialog = h("dialog", { class: "create", "aria-labelledby": "create-title", "data-testid": "create-dialog" }, this.form);
    this.dialog.addEventListener("close", () => this.dialog.remove());
    this.engine.addEventListener("change", () => this.#engineChanged());
    this.start.addEventListener("change", () => setText(this.submit, this.start.checked ? "Create and start" : "Create"));
    this.#engineChanged();
  }

  #engines(engines) {
    const list = engines.length ? engines : [{ name: "raw", available: true }];
    const words = { raw: "raw · straight from the kernel", docker: "docker" };
    return list.map((engine) => h("option", { value: engine.name, disabled: !engine.available }, (words[engine.name] ?? engine.name) + (engine.available ? "" : " (not running here)")));
  }

  #toggle(type) {
    const state = h("small", null);
    const element = h("button", { type: "button", class: "ns-toggle", "data-ns": type, "data-type": type, "data-testid": `create-ns-${type}`, on: { click: () => this.#flip(type) } }, icon(`ns-${type}`), h("b", null, type), state);
    element.title = NAMESPACE_LABELS[type];
    element.state = state;
    this.#draw(type, element);
    return element;
  }

  #flip(type) {
    const order = type === "net" ? Object.keys(NET_WORDS) : ["private", "host"];
    this.modes[type] = order[(order.indexOf(this.modes[type]) + 1) % order.length];
    this.#draw(type, this.toggles[NAMESPACE_TYPES.indexOf(type)]);
    this.touched();
  }

  #draw(type, element) {
    const own = this.modes[type] !== "host";
    const fixed = this.engine.value === "docker" && DOCKER_FIXED.has(type);
    element.disabled = fixed;
    element.setAttribute("aria-pressed", own);
    setText(element.state, fixed ? "Docker decides" : own ? NET_WORDS[this.modes[type]] ?? "its own" : "the host's");
  }

  #engineChanged() {
    const engine = this.engine.value;
    this.images.replaceChildren(...this.allImages.filter((image) => image.engine === engine).map((image) => h("option", { value: image.name })));
    NAMESPACE_TYPES.forEach((type, index) => this.toggles && this.#draw(type, this.toggles[index]));
    this.touched();
  }

  #limit(row, maximum) {
    const control = rangeBox(row, { maximum, testid: `create-limit-${row.name}`, onInput: (value) => { this.limits[row.name] = value; this.touched(); } });
    control.show(this.limits[row.name]);
    return h("div", { class: "mini-limit" }, h("span", { "aria-hidden": "true" }, row.label), control.slider, control.box);
  }

  body() {
    const body = { engine: this.engine.value, name: this.name.value.trim(), image: this.image.value.trim(), namespaces: { ...this.modes }, limits: Object.fromEntries(Object.entries(this.limits).filter(([, value]) => value != null)) };
    if (body.engine === "docker") for (const type of DOCKER_FIXED) delete body.namespaces[type];
    const command = splitCommand(this.command.value);
    if (command.length) body.command = command;
    for (const name of ["hostname", "user", "cwd"]) if (this[name].value.trim()) body[name] = this[name].value.trim();
    const env = this.env.value.split("\n").map((line) => line.trim()).filter(Boolean);
    if (env.length) body.env = Object.fromEntries(env.map((line) => (line.includes("=") ? [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)] : [line, ""])));
    if (this.readOnly.checked) body.security = { read_only_root: true };
    if (!this.start.checked) body.start = false;
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
    this.submit.disabled = true;
    this.submit.setAttribute("aria-busy", "true");
    try {
      const container = await api.post("/containers", this.body());
      store.put(container);
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

/** data: what the page got: limits_table, images, host */
export function openCreateDialog(data) {
  if (document.querySelector("dialog.create")) return;
  const form = new CreateForm(data);
  document.body.append(form.dialog);
  form.dialog.showModal();
  form.name.select();
}
