// The page of networks: what every engine has, who is on each, and making, removing, connecting.

import { containerUrl } from "../actions.js";
import { api } from "../api.js";
import { check, field, input } from "../create/fields.js";
import { copyButton, emptyState, exchange, h, icon, pageData, setText, visitor } from "../dom.js";
import { ask, toast, toastError } from "../feedback.js";
import { formDialog } from "../form_dialog.js";
import * as format from "../lib/format.js";
import { inSubnet, wayOut } from "../lib/subnets.js";
import { debounce } from "../lib/timing.js";
import { listen, store } from "../store.js";

const HEADS = [["Name"], ["Engine"], ["Subnets"], ["Bridge on the host"], ["Way out"], ["On it"], ["Actions", "acts"]];
const FIRST = 6; // members that a row shows until its details are open
const GIVEN = { raw: ["default"], docker: ["bridge", "host", "none"] }; // they were there first, and stay
const REFRESH_AFTER = 400; // ms after a container came or went

const isGiven = (network) => (GIVEN[network.engine] ?? GIVEN.docker).includes(network.name);
const isOn = (network) => (container) => container.engine === network.engine && (container.networks ?? []).includes(network.name);
const refreshing = debounce((page) => page.refresh(), REFRESH_AFTER);

class NetworkPage extends HTMLElement {
  #abort = new AbortController();
  #items = [];
  #open = new Set(); // whose details are unfolded

  connectedCallback() {
    const data = pageData();
    this.#items = data.items ?? [];
    this.engines = (data.host?.engines ?? []).filter((engine) => engine.available);
    this.staff = visitor().staff;
    this.count = h("span", { class: "sub", "data-testid": "network-count" });
    this.search = h("input", { type: "search", "data-search": true, "data-testid": "filter", "aria-label": "Filter the networks", placeholder: "Filter", spellcheck: "false", on: { input: () => this.#draw() } });
    this.body = h("tbody");
    this.table = h("div", { class: "panel-box scroll", tabindex: "0", role: "region", "aria-label": "Networks" }, h("table", null, h("thead", null, h("tr", null, HEADS.map(([label, css]) => h("th", { scope: "col", class: css }, label)))), this.body));
    this.empty = h("div", { class: "panel-box", hidden: true });
    this.append(h("div", { class: "page-head" }, h("h1", null, "Networks"), this.count, h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), this.search),
      !this.staff ? null : h("button", { type: "button", class: "primary", "data-testid": "new-network", on: { click: () => this.#create() } }, icon("plus"), "New network"))), this.table, this.empty);
    listen(this.#abort.signal, "containers", () => { this.#draw(); refreshing(this); });
    this.#draw();
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  async refresh() {
    try {
      this.#items = (await api.get("/networks")).items;
      this.#draw();
    } catch {
      // what is shown stays; the banner says that somebody does not answer
    }
  }

  #draw() {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = this.#items.filter((one) => `${one.name} ${one.engine} ${one.subnet} ${one.subnet6} ${one.bridge}`.toLowerCase().includes(wanted));
    setText(this.count, shown.length === this.#items.length ? format.plural(shown.length, "network") : `${shown.length} of ${format.plural(this.#items.length, "network")}`);
    exchange(this.body, shown.flatMap((one) => this.#rows(one)));
    this.table.hidden = !shown.length;
    this.empty.hidden = shown.length > 0;
    this.empty.replaceChildren(this.#items.length ? emptyState("search", "Nothing matches the filter", "") : emptyState("networks", "No networks yet", "The panel's own bridge is made with the first sandbox that asks for it."));
  }

  #rows(network) {
    const key = `${network.engine}/${network.name}`;
    const members = this.#members(network);
    const code = (text) => h("code", null, text);
    const open = this.#open.has(key);
    const details = h("tr", { hidden: !open, "data-testid": "network-details", dataset: { name: network.name } }, h("td", { colspan: HEADS.length }, this.#details(network)));
    const toggle = h("button", { type: "button", class: "bare tiny", "aria-expanded": String(open), "data-testid": "network-commands", dataset: { key: `${key} details` }, on: { click: () => {
      if (!this.#open.delete(key)) this.#open.add(key);
      this.#draw();
    } } }, "Details");
    const shown = open ? members : members.slice(0, FIRST);
    const more = members.length - shown.length;
    const row = h("tr", { "data-testid": "network-row", dataset: { name: network.name, engine: network.engine } },
      h("td", null, h("b", null, network.name)), h("td", null, h("span", { class: "badge", "data-engine": network.engine }, network.engine)),
      h("td", null, [network.subnet, network.subnet6].filter(Boolean).map((text) => h("div", null, code(text))), network.subnet || network.subnet6 ? null : h("span", { class: "faint" }, "none")),
      h("td", null, network.bridge ? code(network.bridge) : h("span", { class: "faint" }, network.driver || "none")),
      h("td", { class: "nowrap" }, wayOut(network), network.isolated ? h("div", { class: "small quiet" }, "members kept apart") : null),
      h("td", null, members.length ? h("ul", { class: "stack tight" }, shown.map((one) => this.#member(network, one, key)), more ? h("li", { class: "quiet small", "data-testid": "network-more" }, `and ${more} more`) : null) : h("span", { class: "faint" }, "nobody")),
      h("td", { class: "acts nowrap" }, toggle, " ", this.#connectable(network).length ? [h("button", { type: "button", "data-testid": "network-connect", dataset: { key: `${key} connect` }, on: { click: () => this.#connect(network) } }, "Connect …"), " "] : null,
        isGiven(network) || !this.staff ? null : h("button", { type: "button", class: "square danger", title: "Remove", "aria-label": `Remove the network ${network.name}`, "data-testid": "network-remove", dataset: { key: `${key} remove` }, on: { click: () => this.#remove(network) } }, icon("trash"))));
    return [row, details];
  }

  /** From the live list, so that they come and go at once; who may not be seen is not there. */
  #members(network) {
    const here = (address) => inSubnet(address, network.subnet) || inSubnet(address, network.subnet6);
    return [...store.containers.values()].filter(isOn(network)).map((one) => ({ id: one.id, name: one.name, state: one.state, addresses: (one.addresses ?? []).filter(here) })).sort((a, b) => a.name.localeCompare(b.name));
  }

  #member(network, { id, name, state, addresses }, key) {
    return h("li", { class: "row wrap", "data-testid": "network-member", dataset: { name } }, h("i", { class: "dot", "data-state": state, role: "img", "aria-label": state }), h("a", { href: containerUrl(id, "network") }, name), h("span", { class: "faint small nowrap" }, addresses.join(" ")),
      network.engine === "raw" || network.driver !== "bridge" ? null : h("button", { type: "button", class: "tiny square bare", title: "Disconnect", "aria-label": `Disconnect ${name} from ${network.name}`, "data-testid": "network-disconnect", dataset: { key: `${key} ${id}` }, on: { click: () => this.#disconnect(network, { id, name }) } }, icon("close")));
  }

  #details(network) {
    const commands = network.commands ?? [];
    const facts = [["Gateway", [network.gateway, network.gateway6].filter(Boolean).join(", ")], ["Made by", network.owner], ["Driver", network.driver], ["Id", network.id ? format.shortId(network.id) : ""]].filter(([, value]) => value);
    return h("div", { class: "stack" }, network.note ? h("p", { class: "hint row", "data-testid": "network-note" }, icon("info"), network.note) : null,
      h("dl", { class: "facts" }, facts.map(([name, value]) => [h("dt", null, name), h("dd", null, h("code", null, value))])),
      commands.length ? h("div", { class: "stack" }, h("div", { class: "row" }, h("h3", { class: "grow" }, "The commands that make it"), copyButton(() => commands.join("\n"))), h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": `Commands of ${network.name}`, "data-testid": "commands" }, commands.join("\n"))) : h("p", { class: "quiet" }, "It was there before: the daemon makes it at its start."));
  }

  async #create() {
    const engine = h("select", { name: "engine", "data-testid": "network-engine" }, this.engines.map(({ name }) => h("option", { value: name }, name)));
    const name = input("name", "blue", { required: true, maxlength: 63, autofocus: true, "data-testid": "network-name" });
    const subnet = input("subnet", "chosen for you", { "data-testid": "network-subnet" });
    const subnet6 = input("subnet6", "chosen for you", { "data-testid": "network-subnet6" });
    const nat = check("nat", "A way out of this host (NAT); without it an internal network", true);
    const isolated = check("isolated", "Keep its members apart: they don't reach each other", true);
    const sixHint = h("span", null);
    const adapt = () => {
      const raw = engine.value === "raw";
      isolated.element.hidden = !raw;
      subnet6.placeholder = raw ? "chosen for you" : "none";
      setText(sixHint, raw ? "For example fd12:3456:789a:1::/64." : "For example fd12:3456:789a:1::/64. Whether IPv6 gets out of this host is up to the daemon (ip6tables).");
    };
    engine.addEventListener("change", adapt);
    adapt();
    const send = () => {
      const body = { engine: engine.value, name: name.value.trim(), subnet: subnet.value.trim(), subnet6: subnet6.value.trim(), nat: nat.box.checked };
      return api.post("/networks", engine.value === "raw" ? { ...body, isolated: isolated.box.checked } : body);
    };
    const made = await formDialog({ title: "New network", agree: "Make it", testid: "network-dialog", send,
      fields: [field("Name", name), field("Engine", engine), field("Subnet", subnet, "For example 10.20.0.0/24."), field("IPv6 subnet", subnet6, sixHint), nat.element, isolated.element] });
    if (!made) return;
    toast(`The network ${made.name} has ${[made.subnet, made.subnet6].filter(Boolean).join(" and ")}.`);
    await this.refresh();
  }

  async #remove(network) {
    if (!(await ask(`Remove the network ${network.name}?`, [h("p", null, "Its bridge and its rules go. While somebody is on it, it stays.")], "Remove"))) return;
    await this.#done(() => api.delete(`/networks/${encodeURIComponent(network.name)}?engine=${encodeURIComponent(network.engine)}`), `The network ${network.name} was removed.`);
  }

  #connectable(network) {
    if (network.engine === "raw" || network.driver !== "bridge") return [];
    return [...store.containers.values()].filter((one) => one.engine === network.engine && !isOn(network)(one) && one.namespaces?.net?.mode === "bridge");
  }

  async #connect(network) {
    const container = h("select", { name: "container", "data-testid": "connect-container" }, this.#connectable(network).map((one) => h("option", { value: one.id }, one.name)));
    const name = () => container.selectedOptions[0].text;
    const send = () => api.post(`/containers/${container.value}/connect`, { network: network.name });
    if (await formDialog({ title: `Connect to ${network.name}`, agree: "Connect", testid: "connect-dialog", send, fields: [field("Container", container)] })) {
      toast(`${name()} is on ${network.name}.`);
      await this.refresh();
    }
  }

  async #disconnect(network, { id, name }) {
    await this.#done(() => api.post(`/containers/${id}/disconnect`, { network: network.name }), `${name} has left ${network.name}.`);
  }

  async #done(act, text) {
    try {
      await act();
      toast(text);
    } catch (error) {
      toastError(error);
    }
    await this.refresh();
  }
}

customElements.define("network-page", NetworkPage);
