// Eight namespaces: each its own, the host's, another container's, or one at a path.

import { h, icon } from "../dom.js";
import { NAMESPACE_LABELS, NAMESPACE_TYPES, offers } from "../lib/sharing.js";
import { store } from "../store.js";
import { check, input } from "./fields.js";

const OWN = { net: [["bridge", "own, on a bridge"], ["none", "own, no network"]] };
const PLAIN = [["private", "its own"]];
const HOST = ["host", "the host's"];
const USUAL = { net: "bridge" }; // the others: private
const DOCKER = { pid: "hc", net: "hc", ipc: "hc", uts: "h", cgroup: "h", user: "h" }; // what Docker can be asked for: host, container

export class NamespaceFields {
  constructor(touched) {
    this.touched = touched;
    this.tiles = Object.fromEntries(NAMESPACE_TYPES.map((type) => [type, this.#tile(type)]));
    this.boxes = []; // {types, mode, box, hint}: what is offered of a neighbour
    this.offered = h("div", { class: "sharing", role: "group", hidden: true, "data-testid": "create-sharing" });
    this.element = h("fieldset", null, h("legend", null, "Namespaces: its own, the host's, or shared"), this.offered, h("div", { class: "ns-toggles" }, NAMESPACE_TYPES.map((type) => this.tiles[type].element)));
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

  /** A line of boxes for what can be shared with this container; they and the tiles follow each other. */
  offer(beside) {
    const mode = `container:${beside.id}`;
    this.boxes = offers(beside).map(({ types, text, wanted, note }) => {
      const { box, element } = check(`share-${types[0]}`, text, wanted);
      const hint = note ? h("p", { class: "hint", "data-testid": `share-${types[0]}-note` }, note) : null;
      box.dataset.testid = `share-${types[0]}`;
      box.addEventListener("change", () => this.show(Object.fromEntries(types.map((type) => [type, box.checked ? mode : USUAL[type] ?? "private"]))));
      element.classList.remove("wide");
      return { types, mode, box, hint, element };
    });
    this.offered.setAttribute("aria-label", `Shared with ${beside.name}`);
    this.offered.replaceChildren(h("div", { class: "row wrap" }, h("span", { class: "label" }, `Shared with ${beside.name}:`), this.boxes.map(({ element }) => element)), ...this.boxes.map(({ hint }) => hint).filter(Boolean));
    this.offered.hidden = !this.boxes.length;
    const shared = this.boxes.filter(({ box }) => box.checked).flatMap(({ types }) => types);
    this.show(Object.fromEntries(shared.map((type) => [type, mode])));
    this.#drawOffered();
  }

  #drawOffered() {
    for (const { types, mode, box, hint } of this.boxes) {
      box.checked = types.every((type) => this.tiles[type].choice.value === mode);
      if (hint) hint.hidden = !box.checked;
    }
  }

  engineChanged(engine) {
    this.offered.hidden = engine !== "raw" || !this.boxes.length;
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
    this.#drawOffered();
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
