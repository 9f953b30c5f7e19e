// The tab "Mounts": its mount table as the kernel has it, drawn as findmnt does.

import { emptyState, h } from "../dom.js";
import * as format from "../lib/format.js";
import { treeLines } from "../lib/tree.js";
import { box, fetched, path, table } from "./parts.js";

const HEADS = ["Target", "Source", "Type", "Options", "Propagation"];

/** of this mount, then of its file system, each word once; that the file system is writable says nothing of the mount */
const options = (mount) => [...new Set([...mount.options, ...mount.super_options.filter((word) => word !== "rw")])].join(", ");

function source(mount) {
  return mount.root === "/" ? mount.source : `${mount.source}[${mount.root}]`;
}

function row({ item: mount, branch }) {
  return h("tr", { "data-testid": "mount", "data-target": mount.target },
    h("td", { class: "mono nowrap" }, h("span", { class: "branch", "aria-hidden": "true" }, branch), mount.target), h("td", { class: "mono mount-source" }, source(mount)), h("td", { class: "mono" }, mount.type),
    h("td", { class: "mono small mount-options" }, options(mount)), h("td", null, h("span", { class: `badge ${mount.propagation.includes("shared") ? "warn" : ""}` }, mount.propagation)));
}

export async function open(panel, { id }) {
  await fetched(panel, path(id, "mounts"), ({ items }) => box("Mounts", h("span", { class: "quiet small" }, format.plural(items.length, "mount")),
    items.length ? table("Mounts", HEADS, treeLines(items, (one) => one.id, (one) => one.parent).map(row)) : emptyState("ns-mnt", "No mounts to be seen", "The container isn't running: what it mounts goes with its processes.")));
}
