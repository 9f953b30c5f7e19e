// Its files: the root's layer, and what is mounted over it.

import { api } from "../api.js";
import { h } from "../dom.js";
import { check, input, rowList, select } from "./fields.js";

const USES = { source: ["bind", "volume"], size: ["tmpfs"], propagation: ["bind"] }; // field → the types of mount that have it

function hideUseless(row) {
  const control = (name) => row.querySelector(`[data-column=${name}]`);
  for (const [name, types] of Object.entries(USES)) control(name).hidden = !types.includes(control("type").value);
}

export class StorageFields {
  constructor(touched) {
    this.readOnly = check("read_only_root", "Read-only root file system");
    this.mounts = rowList({
      title: "Mounts", add: "Add a mount", touched, testid: "create-mount", fit: hideUseless,
      columns: [
        { name: "type", label: "Type", make: () => select("type", [["tmpfs", "in memory (tmpfs)"], ["bind", "host directory"], ...(this.engine === "raw" ? [] : [["volume", "volume"]])]) },
        { name: "source", label: "Source on the host", make: () => input("source", "/srv/data, or a volume's name", { list: "create-volumes" }) },
        { name: "target", label: "Target inside", make: () => input("target", "/data") },
        { name: "size", label: "Size of what is in memory", make: () => input("size", "64M", { size: 6 }) },
        { name: "propagation", label: "Propagation", make: () => select("propagation", [["private", "private"], ["slave", "slave"], ["shared", "shared"]]) },
        { name: "read_only", label: "read-only", make: () => h("input", { type: "checkbox" }) },
      ],
    });
    this.volumes = h("datalist", { id: "create-volumes" });
    this.element = h("details", null, this.volumes, h("summary", { class: "quiet" }, "Files: read-only root, mounts"), h("div", { class: "cols more" }, this.readOnly.element, this.mounts.element));
  }

  async engineChanged(engine) {
    if (this.engine === engine) return;
    this.engine = engine;
    this.mounts.show(this.mounts.values().filter((mount) => engine !== "raw" || mount.type !== "volume"));
    this.volumes.replaceChildren();
    if (engine === "raw") return;
    const { items } = await api.get("/volumes").catch(() => ({ items: [] })); // its names can be written too
    if (this.engine === engine) this.volumes.replaceChildren(...items.filter((one) => one.engine === engine).map((one) => h("option", { value: one.name })));
  }

  show(spec) {
    this.readOnly.box.checked = Boolean(spec.security?.read_only_root);
    this.mounts.show(spec.mounts ?? []);
  }

  read(body) {
    if (this.readOnly.box.checked) body.security = { ...body.security, read_only_root: true };
    const used = (type, fields) => Object.fromEntries(Object.entries(fields).filter(([name]) => USES[name].includes(type)));
    const mounts = this.mounts.values().map(({ type, source, target, size, propagation, read_only }) => ({
      type, target, ...used(type, { source, ...(size ? { size } : {}), ...(propagation === "private" ? {} : { propagation }) }), ...(read_only ? { read_only } : {}),
    }));
    if (mounts.length) body.mounts = mounts;
  }
}
