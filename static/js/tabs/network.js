// The tab "Network": addresses, published ports, the networks it is on, who shares them; Docker's can be connected and disconnected.

import { api } from "../api.js";
import { emptyState, exchange, h, icon } from "../dom.js";
import { toast, toastError } from "../feedback.js";
import { networkNote } from "../lib/container_facts.js";
import * as format from "../lib/format.js";
import { isolationOf } from "../lib/sharing.js";
import { wayOut } from "../lib/subnets.js";
import { portItem } from "../port_item.js";
import { store } from "../store.js";
import { box, path, table } from "./parts.js";

const NOT_TO_BE_JOINED = ["host", "none"]; // words of Docker's that are no networks

class NetworkView {
  #networks = [];
  #drawn = "";

  constructor(id) {
    this.id = id;
    this.facts = h("dl", { class: "facts", "data-testid": "network-facts" });
    this.joined = h("div");
    this.choice = h("select", { "aria-label": "Network to connect it to", "data-testid": "connect-network" });
    this.connect = h("button", { type: "button", class: "tiny", "data-testid": "connect", on: { click: () => this.#change("connect", this.choice.value) } }, icon("plus"), "Connect");
    this.tools = h("div", { class: "row", hidden: true }, this.choice, this.connect);
    this.element = h("div", { class: "stack" }, box("Network", h("a", { class: "button tiny", href: "/networks/" }, icon("networks"), "All networks"), h("div", { class: "body" }, this.facts)), box("Networks it is on", this.tools, this.joined));
  }

  async read() {
    try {
      this.#networks = (await api.get("/networks")).items;
    } catch (error) {
      toastError(error); // the container's own facts are there without
    }
    this.#drawn = "";
    this.draw();
  }

  draw() {
    const container = store.containers.get(this.id);
    if (!container) return;
    const part = isolationOf(container, store.groups).find((one) => one.type === "net");
    const shape = JSON.stringify([container.addresses, container.ports, container.networks, container.state, container.hostname, part]);
    if (shape === this.#drawn) return;
    this.#drawn = shape;
    const facts = {
      "Host name": container.hostname || format.UNKNOWN,
      Addresses: container.addresses?.length ? h("span", { class: "inline-list" }, container.addresses.map((address) => h("code", null, address))) : "none",
      "Published ports": container.ports?.length ? h("span", { class: "inline-list" }, container.ports.map(portItem)) : "none",
      Namespace: h("span", null, networkNote(part) || (part.kind === "private" ? "its own" : "not known"), part.inode ? [" ", h("code", { class: "faint" }, part.inode)] : null),
    };
    this.facts.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
    this.#drawNetworks(container);
  }

  #drawNetworks(container) {
    const docker = container.engine !== "raw";
    const own = this.#networks.filter((one) => one.engine === container.engine);
    const joined = (container.networks ?? []).map((name) => own.find((one) => one.name === name) ?? { name });
    const rows = joined.map((one) => h("tr", { "data-testid": "joined-network", "data-name": one.name },
      h("td", null, h("b", null, one.name)), h("td", null, h("code", null, [one.subnet, one.subnet6].filter(Boolean).join(", ") || "–")), h("td", null, h("code", null, [one.gateway, one.gateway6].filter(Boolean).join(", ") || "–")), h("td", null, h("code", null, one.bridge || "–")),
      h("td", null, one.nat === undefined ? format.UNKNOWN : wayOut(one)),
      docker ? h("td", { class: "acts" }, h("button", { type: "button", class: "tiny", "data-testid": "disconnect", "aria-label": `Disconnect from ${one.name}`, on: { click: () => this.#change("disconnect", one.name) } }, "Disconnect")) : null));
    exchange(this.joined, [rows.length ? table("Networks", ["Name", "Subnet", "Gateway", "Bridge on the host", "Way out", ...(docker ? ["Actions"] : [])], rows) : emptyState("networks", "On no network", docker ? "Connect it to one of Docker's above." : "It was made without one, or shares somebody else's.")]);
    const others = docker ? own.filter((one) => !NOT_TO_BE_JOINED.includes(one.name) && !joined.some((other) => other.name === one.name)) : [];
    this.tools.hidden = !others.length;
    this.choice.replaceChildren(...others.map((one) => h("option", { value: one.name }, one.name)));
  }

  async #change(action, network) {
    try {
      await api.post(path(this.id, action), { network });
      await store.put(api.get(`/containers/${encodeURIComponent(this.id)}`));
      toast(action === "connect" ? `Connected to ${network}.` : `Disconnected from ${network}.`);
    } catch (error) {
      toastError(error);
    }
    await this.read();
  }
}

export async function open(panel, { id }) {
  const view = new NetworkView(id);
  view.draw();
  panel.replaceChildren(view.element);
  const changed = () => view.draw();
  store.addEventListener("containers", changed);
  await view.read();
  return () => store.removeEventListener("containers", changed);
}
