// Eight namespaces: each its own, the host's, another container's, or one at a path.

import { h, icon } from "../dom.js";
import { NAMESPACE_LABELS, NAMESPACE_TYPES } from "../lib/sharing.js";
import { store } from "../store.js";
import { input } from "./fields.js";

const OWN = { net: [["bridge", "own, on a bridge"], ["none", "own, no network"]] };
const PLAIN = [["private", "its own"]];
const HOST = ["host", "the host's"];
const DOCKER = { pid: "hc", net: "hc", ipc: "hc", uts: "h", cgroup: "h", user: "h" }; // what Docker can be asked for: host, container

export class NamespaceFields {
  constructor(touched) {
    this.touched = touched;
    this.tiles = Object.fromEntries(NAMESPACE_TYPES.map((type) => [type, this.#tile(type)]));
    this.element = h("fieldset", null, h("legend", null, "Namespaces: its own, the host's, or shared"), h("div", { class: "ns-toggles" }, NAMESPACE_TYPES.map((type) => this.tiles[type].element)));
  }

  #tile(type) {
    const choice = h("select", { "aria-label": `${NAMESPACE_LABELS[type]} namespace`, "data-testid": `create-ns-${type}` });
    const path = input(`path-${type}`, "/run/netns/blue", { hidden: true, "aria-label": `Path of the ${type} namespace` });
    const element = h("div", { class: "ns-toggle", "data-ns": type, title: NAMESPACE_LABELS[type] }, icon(`ns-${type}`), h("b", null, type), choice, path);
    const tile = { element, choice, path };
    choice.addEventListener("change", () => { this.#draw(tile); this.touched(); if (!path.hidden) path.focus(); });
    return tile;
  }

  #options(type, engine) {
    const own = (OWN[type] ?? PLAIN).map(([value, text]) => h("option", { value }, text));
    const can = engine === "raw" ? "hcp" : DOCKER[type] ?? "";
    const host = can.includes("h") && type !== "mnt" ? [h("option", { value: HOST[0] }, HOST[1])] : [];
    const others = can.includes("c") ? [...store.containers.values()].filter((one) => ["running", "paused"].includes(one.state) && (engine === "raw" || one.engine === engine)) : [];
    const shared = others.length ? [h("optgroup", { label: "shared with" }, others.map((one) => h("option", { value: `container:${one.id}` }, one.name)))] : [];
    return [...own, ...host, ...shared, ...(can.includes("p") ? [h("option", { value: "path:" }, "at a path …")] : [])];
  }

  engineChanged(engine) {
    for (const type of NAMESPACE_TYPES) {
      const tile = this.tiles[type];
      const before = tile.choice.value;
      tile.choice.replaceChildren(...this.#options(type, engine));
      if ([...tile.choice.options].some((option) => option.value === before)) tile.choice.value = before;
      tile.choice.disabled = tile.choice.options.length < 2;
      this.#draw(tile);
    }
  }

  #draw({ element, choice, path }) {
    path.hidden = choice.value !== "path:";
    element.dataset.kind = choice.value === "host" ? "host" : /^(container|path):/.test(choice.value) ? "shared" : "own";
  }

  /** modes: {pid: "container:ID", …}; a container that is not in the list is added to it */
  show(modes = {}) {
    for (const [type, mode] of Object.entries(modes)) {
      const tile = this.tiles[type];
      if (!tile) continue;
      const isPath = mode.startsWith("path:");
      if (!isPath && ![...tile.choice.options].some((option) => option.value === mode)) tile.choice.append(h("option", { value: mode }, mode));
      tile.choice.value = isPath ? "path:" : mode;
      if (isPath) tile.path.value = mode.slice(5);
      this.#draw(tile);
    }
  }

  get net() {
    return this.tiles.net.choice.value;
  }

  read(body) {
    body.namespaces = {};
    for (const [type, { choice, path }] of Object.entries(this.tiles)) {
      if (choice.disabled && body.engine !== "raw") continue;
      body.namespaces[type] = choice.value === "path:" ? `path:${path.value.trim()}` : choice.value;
    }
  }
}
