// The first look: how the host is, who uses most, what is shared, what ended badly, what happened last.

import "./spark-line.js";
import { containerUrl } from "../actions.js";
import { track } from "../container_row.js";
import { dotState, ending } from "../container_state.js";
import { emptyState, exchange, h, icon, pageData, setText } from "../dom.js";
import { living } from "../lib/container_facts.js";
import * as format from "../lib/format.js";
import { History } from "../lib/history.js";
import { NAMESPACE_TYPES } from "../lib/sharing.js";
import { EventRows } from "../event_rows.js";
import { listen, store } from "../store.js";

const TOP = 6; // containers in each "who uses most"
const EVENTS = 8;
const RANK_EVERY = 5; // frames, so that the order can be read
const SAMPLES = 60;

class OverviewPage extends HTMLElement {
  #abort = new AbortController();
  #frames = 0;
  #events = new EventRows({ most: EVENTS });
  #histories = { cpu: new History(SAMPLES), memory: new History(SAMPLES), pressure: new History(SAMPLES) };

  connectedCallback() {
    this.host = pageData().host ?? {};
    const tile = (label, testid) => {
      const value = h("b", { "data-testid": testid }, format.UNKNOWN);
      const note = h("span", { class: "quiet small" });
      const spark = document.createElement("spark-line");
      return { value, note, spark, element: h("section", { class: "tile panel-box", "aria-label": label }, h("span", { class: "label" }, label), value, note, spark) };
    };
    this.tiles = { running: tile("Running", "tile-running"), cpu: tile("Host CPU", "tile-cpu"), memory: tile("Host memory", "tile-memory"), pressure: tile("Pressure", "tile-pressure") };
    this.tiles.running.spark.remove();
    this.lists = { cpu: h("ol", { class: "top" }), memory: h("ol", { class: "top" }) };
    this.shared = h("ul", { class: "body stack" });
    this.ended = h("ul", { class: "body stack" });
    const box = (title, content, link) => h("section", { class: "panel-box", "aria-label": title }, h("header", null, h("h2", null, title), link ? h("div", { class: "tools" }, h("a", { class: "small", href: link[0] }, link[1])) : null), content);
    this.full = h("div", { class: "stack" },
      h("div", { class: "grid-2" }, box("Most CPU", this.lists.cpu, ["/containers/", "All containers"]), box("Most memory", this.lists.memory)),
      h("div", { class: "grid-2" }, box("Shared namespaces", this.shared, ["/namespaces/", "Graph"]), box("Ended badly", this.ended, ["/containers/?q=state:exited", "All that ended"])),
      box("Latest", h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Latest events" }, h("table", null, this.#events.body)), ["/activity/", "All activity"]));
    this.none = h("div", { class: "panel-box", hidden: true }, emptyState("containers", "Nothing runs here yet", "Make a sandbox, straight from kernel parts: its own namespaces, limits and root file system, running within a second.", h("a", { class: "button primary", href: "/containers/#new" }, icon("plus"), "New sandbox")));
    this.append(h("div", { class: "page-head" }, h("h1", null, "Overview"), h("span", { class: "sub" }, [this.host.hostname, this.host.kernel, this.host.cgroups && `cgroups ${this.host.cgroups}`].filter(Boolean).join(" · "))),
      h("div", { class: "tiles" }, Object.values(this.tiles).map(({ element }) => element)), this.none, this.full);
    const { signal } = this.#abort;
    listen(signal, "containers", () => this.#draw());
    listen(signal, "stats", () => this.#tick());
    this.#draw();
    this.#rank();
    this.#events.follow(signal);
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  #tick() {
    const { host } = store;
    if (!host) return;
    const pressure = Object.entries(host.pressure ?? {});
    const worst = pressure.length ? Math.max(...pressure.map(([, value]) => value)) : null;
    this.#histories.cpu.push(host.cpu);
    this.#histories.memory.push(host.memory);
    this.#histories.pressure.push(worst);
    setText(this.tiles.cpu.value, host.cpu == null ? format.UNKNOWN : format.percent(host.cpu / host.cpus));
    setText(this.tiles.cpu.note, `${format.cores(host.cpu)} of ${format.plural(host.cpus, "core")} · load ${host.load?.toFixed(2) ?? format.UNKNOWN}`);
    setText(this.tiles.memory.value, format.bytes(host.memory));
    setText(this.tiles.memory.note, `of ${format.bytes(host.memory_total)}`);
    setText(this.tiles.pressure.value, worst == null ? format.UNKNOWN : `${worst.toFixed(1)} %`);
    setText(this.tiles.pressure.note, pressure.length ? pressure.map(([name, value]) => `${name} ${value.toFixed(1)}`).join(" · ") : "this kernel does not measure it");
    this.tiles.cpu.spark.draw(this.#histories.cpu.values, host.cpus);
    this.tiles.memory.spark.draw(this.#histories.memory.values, host.memory_total);
    this.tiles.pressure.spark.draw(this.#histories.pressure.values, 10);
    if (this.#frames % RANK_EVERY === 0) this.#rank();
    this.#frames += 1;
  }

  #rank() {
    for (const [name, list] of Object.entries(this.lists)) {
      const ranked = [...store.containers.values()].filter((container) => store.stats.get(container.id)?.[name] != null).sort((a, b) => store.stats.get(b.id)[name] - store.stats.get(a.id)[name]).slice(0, TOP);
      const whole = name === "cpu" ? store.host?.cpus : store.host?.memory_total;
      exchange(list, ranked.length ? ranked.map((container) => this.#topRow(container, name, whole)) : [h("li", { class: "faint" }, "No numbers yet; they come each second while containers run.")]);
    }
  }

  #topRow(container, name, whole) {
    const stats = store.stats.get(container.id);
    const limit = stats[`${name}_limit`];
    const bar = track();
    bar.set(stats[name], limit, whole);
    return h("li", null, h("a", { class: "clip", href: containerUrl(container.id) }, container.name), h("span", { class: "badge", "data-engine": container.engine }, container.engine), bar.element, h("span", { class: "num" }, name === "cpu" ? format.coresOf(stats.cpu, limit) : format.bytesOf(stats.memory, limit)));
  }

  #draw() {
    const all = [...store.containers.values()];
    const running = all.filter(living);
    this.none.hidden = all.length > 0 || !store.loaded;
    this.full.hidden = !this.none.hidden;
    const count = (test) => all.filter(test).length;
    setText(this.tiles.running.value, String(count((container) => container.state === "running")));
    setText(this.tiles.running.note, `${count((container) => container.state === "paused")} paused · ${all.length - running.length} stopped · ${count((container) => container.engine === "raw")} raw · ${count((container) => container.engine === "docker")} docker`);
    const groups = [...store.groups].filter(([, members]) => members.length > 1).sort(([a], [b]) => NAMESPACE_TYPES.indexOf(a.split(":")[0]) - NAMESPACE_TYPES.indexOf(b.split(":")[0]));
    exchange(this.shared, groups.length ? groups.slice(0, TOP).map(([key, members]) => {
      const [type, inode] = key.split(":");
      return h("li", { class: "row wrap", "data-ns": type }, h("span", { class: "ns-tag" }, icon(`ns-${type}`), type), h("code", { class: "faint" }, inode), h("span", { class: "inline-list" }, members.map((member) => h("a", { href: containerUrl(member.id, "namespaces") }, member.name))));
    }) : [h("li", { class: "faint" }, "No two containers share a namespace.")]);
    const bad = all.filter((container) => container.state === "exited" && container.exit_code).sort((a, b) => (b.finished_at ?? 0) - (a.finished_at ?? 0)).slice(0, TOP);
    exchange(this.ended, bad.length ? bad.map((container) => h("li", { class: "row" }, h("i", { class: "dot", "data-state": dotState(container) }), h("a", { class: "clip", href: containerUrl(container.id, "logs") }, container.name), h("span", { class: "quiet clip" }, ending(container)))) : [h("li", { class: "faint" }, "Nothing ended with an error.")]);
  }
}

customElements.define("overview-page", OverviewPage);
