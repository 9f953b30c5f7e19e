// Its files: the root's layer, and what is mounted over it.

import { h } from "../dom.js";
import { check, input, rowList, select } from "./fields.js";

export class StorageFields {
  constructor(touched) {
    this.readOnly = check("read_only_root", "Read-only root file system");
    this.mounts = rowList({
      title: "Mounts", add: "Add a mount", touched, testid: "create-mount",
      columns: [
        { name: "type", label: "Type", make: () => select("type", [["tmpfs", "in memory (tmpfs)"], ["bind", "host directory"], ["volume", "Docker volume"]]) },
        { name: "source", label: "Source on the host", make: () => input("source", "/srv/data, if not in memory") },
        { name: "target", label: "Target inside", make: () => input("target", "/data") },
        { name: "size", label: "Size of what is in memory", make: () => input("size", "64M", { size: 6 }) },
        { name: "propagation", label: "Propagation", make: () => select("propagation", [["private", "private"], ["slave", "slave"], ["shared", "shared"]]) },
        { name: "read_only", label: "read-only", make: () => h("input", { type: "checkbox" }) },
      ],
    });
    this.element = h("details", null, h("summary", { class: "quiet" }, "Files: read-only root, mounts"), h("div", { class: "cols more" }, this.readOnly.element, this.mounts.element));
  }

  show(spec) {
    this.readOnly.box.checked = Boolean(spec.security?.read_only_root);
    this.mounts.show(spec.mounts ?? []);
  }

  read(body) {
    if (this.readOnly.box.checked) body.security = { ...body.security, read_only_root: true };
    const mounts = this.mounts.values().filter((mount) => mount.target).map(({ type, source, target, size, propagation, read_only }) => ({
      type, target, ...(type === "tmpfs" ? (size ? { size } : {}) : { source }), ...(propagation === "private" ? {} : { propagation }), ...(read_only ? { read_only } : {}),
    }));
    if (mounts.length) body.mounts = mounts;
  }
}
