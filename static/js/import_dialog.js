// "Import an image": where its files come from. An upload goes in pieces, so that nothing holds it whole.

import { api } from "./api.js";
import { field, input } from "./create/fields.js";
import { h, icon, setText } from "./dom.js";
import { toastError } from "./feedback.js";
import { splitCommand } from "./lib/argv.js";
import { store } from "./store.js";

const PIECE = 512 * 1024; // bytes, as many as the API takes at once
const ATTEMPTS = 3;
const PATIENCE = 1000; // ms between attempts while the job waits for its turn

const text = (name, label, placeholder, hint, optional = false) => ({ name, optional, make: () => { const control = input(name, placeholder, { "data-testid": `import-${name}` }); return { element: field(label, control, hint), read: () => control.value.trim() }; } });
const list = (name, label, placeholder, hint, optional = false) => ({ name, optional, make: () => { const made = text(name, label, placeholder, hint).make(); return { element: made.element, read: () => splitCommand(made.read()) }; } });
const file = { name: "file", make: () => { const control = h("input", { type: "file", name: "file", "data-testid": "import-file" }); return { element: field("File", control), file: () => control.files[0] }; } };
const ALLOWED = "Which may be read is in policy.toml.";
const place = (example) => text("path", "Or its path on this host", example, ALLOWED, true);
const container = { name: "container", make: () => {
  const control = h("select", { name: "container" }, [...store.containers.values()].filter((one) => one.engine !== "raw").map((one) => h("option", { value: one.id }, one.name)));
  return { element: field("Container", control), read: () => control.value };
} };

/** type → {label, help, fields}, for sandboxes */
const SOURCES = {
  tar: { label: "A tarball", help: "A root file system, plain or packed by gzip, bzip2, xz or zstd.", fields: [file, place("/srv/roots/a.tar.gz")] },
  oci: { label: "An OCI or docker-save archive", help: "Layers, whiteouts, owners and settings are kept.", fields: [file, place("/srv/roots/a.oci.tar, or a directory")] },
  registry: { label: "A registry", help: "Which registries may be asked is in policy.toml.", fields: [text("reference", "Reference", "docker.io/library/alpine:3.20")] },
  "docker-image": { label: "An image of Docker", help: "Copied layer by layer, with its settings.", fields: [text("reference", "Image", "alpine:3.20")] },
  "docker-container": { label: "A container of Docker", help: "Its files as they are now.", fields: [container] },
  programs: { label: "Programs of this host", help: "With the libraries that they load, as ldd lists them.", fields: [list("programs", "Programs", "bash ls cat", "Names or paths, with spaces between")] },
  debootstrap: { label: "Debian, by debootstrap", help: "From a mirror that this host's own apt uses.", fields: [text("suite", "Suite", "bookworm"), list("packages", "More packages", "curl less", "", true), text("mirror", "Mirror", "the first of the host's", "", true)] },
  directory: { label: "A directory of this host", help: ALLOWED, fields: [text("path", "Path", "/srv/roots/a")] },
};
/** The same of each Docker daemon. `type` is the source's. */
const OF_DOCKER = {
  pull: { type: "pull", label: "pull from a registry", help: "By the daemon itself. Which registries may be asked is in policy.toml.", fields: [] },
  load: { type: "oci", label: "load what docker save wrote", help: "Images keep the names that they have in the archive.", fields: [file, place("/srv/roots/saved.tar")] },
  import: { type: "tar", label: "a tarball", help: "A root file system becomes an image of one layer.", fields: [file, place("/srv/roots/a.tar")] },
};

/** key → {engine, type, label, help, fields}, of the engines that are there */
function sourcesOf(engines) {
  const found = {};
  for (const { name, available } of engines) {
    if (!available) continue;
    if (name === "raw") for (const [type, source] of Object.entries(SOURCES)) found[type] = { ...source, engine: "raw", type };
    else for (const [key, source] of Object.entries(OF_DOCKER)) found[`${name}-${key}`] = { ...source, engine: name, label: `For ${name === "docker" ? "Docker" : name}: ${source.label}` };
  }
  return found;
}

class ImportForm {
  constructor(engines) {
    this.sources = sourcesOf(engines);
    this.name = input("name", "my-image", { required: true, maxlength: 127, autofocus: true, "data-testid": "import-name" });
    this.type = h("select", { name: "type", "data-testid": "import-type" }, Object.entries(this.sources).map(([key, source]) => h("option", { value: key }, source.label)));
    this.help = h("p", { class: "hint" });
    this.inside = h("div", { class: "stack" });
    this.bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Upload" });
    this.waiting = h("p", { class: "hint", role: "status", hidden: true, "data-testid": "import-waiting" }, "Other imports go first; the upload begins by itself. Leave this open.");
    this.error = h("div", { class: "banner bad", role: "alert", hidden: true, "data-testid": "import-error" }, icon("warning"), h("div", null, h("p"), h("p", { class: "hint" })));
    this.submit = h("button", { type: "submit", class: "primary", "data-testid": "import-submit" }, "Import");
    const close = () => this.dialog.close();
    this.dialog = h("dialog", { class: "ask wide", "aria-labelledby": "import-title", "data-testid": "import-dialog" }, h("form", { method: "dialog", novalidate: true, on: { submit: (event) => this.#send(event) } },
      h("header", null, h("h2", { id: "import-title", class: "grow" }, "Import an image")),
      h("div", { class: "body stack" }, this.error, field("Where it comes from", this.type), this.help, this.inside, field("Name", this.name), this.bar, this.waiting),
      h("footer", null, h("button", { type: "button", on: { click: close } }, "Cancel"), this.submit)));
    this.dialog.addEventListener("close", () => { this.dialog.remove(); this.closed = true; });
    this.type.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  #draw() {
    const source = this.sources[this.type.value];
    setText(this.help, source.help);
    this.fields = source.fields.map((one) => ({ ...one, ...one.make() }));
    this.inside.replaceChildren(...this.fields.map((one) => one.element));
    this.name.placeholder = source.engine === "raw" ? "my-image" : "alpine:3.20";
  }

  async #send(event) {
    event.preventDefault();
    if (this.submit.disabled) return;
    this.submit.disabled = true;
    this.error.hidden = true;
    const { engine, type } = this.sources[this.type.value];
    const source = { type };
    for (const one of this.fields) if (one.read && (one.read().length || !one.optional)) source[one.name] = one.read();
    const chooser = this.fields.find((one) => one.file);
    const upload = source.path ? null : chooser;
    try {
      if (upload && !upload.file()) throw Object.assign(new Error("Choose a file, or write its path."), { code: "no_file", hint: "" });
      if (source.path && chooser?.file()) throw Object.assign(new Error("There is a file and a path: only one of them can become the image."), { code: "two_sources", hint: "Empty the path to upload the file." });
      const job = await api.post("/images", { ...(engine === "raw" ? {} : { engine }), name: this.name.value.trim(), source });
      if (upload) await this.#feed(job, upload.file());
      this.dialog.close();
    } catch (error) {
      this.error.hidden = false;
      const [message, hint] = this.error.querySelectorAll("p");
      setText(message, error.message);
      setText(hint, error.hint ?? "");
    } finally {
      this.submit.disabled = false;
    }
  }

  async #feed(job, blob) {
    this.bar.hidden = false;
    for (let offset = 0; offset < blob.size || offset === 0; offset += PIECE) {
      if (this.closed) {
        await api.post(`/jobs/${job.id}/cancel`, {});
        return;
      }
      const sent = await sendPiece(`/jobs/${job.id}/data?offset=${offset}&last=${offset + PIECE >= blob.size}`, blob.slice(offset, offset + PIECE));
      if (sent) this.bar.value = Math.min((offset + PIECE) / blob.size, 1);
      else {
        offset -= PIECE; // the same again
        await new Promise((resolve) => setTimeout(resolve, PATIENCE));
      }
      this.waiting.hidden = sent;
    }
  }
}

/** A piece whose answer was lost may be sent again. → false while the job waits for its turn and takes nothing */
async function sendPiece(path, piece) {
  for (let attempt = 1; ; attempt += 1) {
    try {
      await api.put(path, piece);
      return true;
    } catch (error) {
      if (error.code === "waiting") return false;
      if (error.code !== "unreachable" || attempt === ATTEMPTS) throw error;
    }
  }
}

export async function openImportDialog() {
  if (document.querySelector("dialog[data-testid=import-dialog]")) return;
  try {
    const { engines } = await api.get("/host");
    const form = new ImportForm(engines);
    document.body.append(form.dialog);
    form.dialog.showModal();
  } catch (error) {
    toastError(error);
  }
}
