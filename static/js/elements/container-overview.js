// The first tab: facts, and charts of the last five minutes.

import "./time-chart.js";
import { h, icon } from "../dom.js";
import { joinCommand } from "../lib/argv.js";
import * as format from "../lib/format.js";
import { NAMESPACE_LABELS, detachment, isolationOf } from "../lib/sharing.js";
import { listen, store } from "../store.js";

const CHARTS = [
  { name: "cpu", label: "CPU", unit: "cores", limit: "cpu_limit", format: format.cores, floor: 0.05 },
  { name: "memory", label: "Memory", unit: "", limit: "memory_limit", format: format.bytes, floor: 4 * 2 ** 20, binary: true },
  { name: "pids", label: "Processes", unit: "", limit: "pids_limit", format: format.count, floor: 5 },
  { name: "net_in", second: "net_out", label: "Network", unit: "in, out", format: format.rate, floor: 1024, binary: true },
  { name: "io_read", second: "io_write", label: "Disk", unit: "read, write", format: format.rate, floor: 1024, binary: true },
  { name: "throttled", label: "Held back by the CPU limit", unit: "", format: format.percent, floor: 0.1 },
];

class ContainerOverview extends HTMLElement {
  #abort = new AbortController();

  open({ id }) {
    this.id_ = id;
    this.facts = h("dl", { class: "facts", "data-testid": "facts" });
    this.isolation = h("ul", { class: "isolation" });
    this.charts = CHARTS.map((chart) => document.createElement("time-chart").build(chart));
    this.append(h("div", { class: "charts" }, this.charts),
      h("div", { class: "grid-2" },
        h("section", { class: "panel-box", "aria-label": "Facts" }, h("header", null, h("h2", null, "Facts")), h("div", { class: "body" }, this.facts)),
        h("section", { class: "panel-box", "aria-label": "Isolation" }, h("header", null, h("h2", null, "Isolation")), h("div", { class: "body" }, this.isolation))));
    const { signal } = this.#abort;
    listen(signal, "containers", ({ changed }) => (changed.includes(id) || changed.length > 0) && this.#draw());
    listen(signal, "stats", () => this.#tick());
    let lost = false;
    listen(signal, "connection", (up) => {
      if (up && lost) this.#fill(); // what was missed meanwhile
      lost = !up;
    });
    this.#draw();
    this.#tick();
    this.#fill();
  }

  async #fill() {
    try {
      await store.fill(this.id_);
    } catch {
      return; // the charts begin with what comes live
    }
    this.#tick();
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  #tick() {
    const history = store.history(this.id_);
    const stats = store.stats.get(this.id_);
    for (const chart of this.charts) chart.draw(history, stats);
  }

  #draw() {
    const container = store.containers.get(this.id_);
    if (!container) return;
    const lasted = container.started_at ? format.dateTime(container.started_at) : "not yet";
    const facts = {
      Id: h("code", null, container.id), Image: container.image, Command: h("code", null, joinCommand(container.command ?? []) || "the image's own"), "Runs as": h("span", null, "user ", h("code", null, container.user || "0:0"), " in ", h("code", null, container.cwd || "/")),
      "Process on the host": container.pid ? h("code", { "data-testid": "host-pid" }, container.pid) : "none", "Host name": container.hostname || format.UNKNOWN,
      Addresses: container.addresses?.length ? h("code", null, container.addresses.join(", ")) : "none", Started: lasted, Ended: container.finished_at ? format.dateTime(container.finished_at) : null,
      Outcome: container.exit_code == null ? null : `exit code ${container.exit_code}${container.reason ? ` · ${container.reason}` : ""}`,
      Created: format.dateTime(container.created_at), Owner: container.owner || "made outside the panel", "User map": container.user_map ? h("code", null, container.user_map) : "the host's users", Group: container.group ? h("a", { href: `/groups/#${encodeURIComponent(container.group)}`, "data-testid": "container-group" }, container.group) : null, Node: container.node,
    };
    this.facts.replaceChildren(...Object.entries(facts).filter(([, value]) => value != null).flatMap(([name, value]) => [h("dt", null, name), h("dd", null, value)]));
    this.isolation.replaceChildren(...isolationOf(container, store.groups).map((part) => h("li", { "data-ns": part.type, "data-kind": part.kind }, h("span", { class: "ns-tag" }, icon(`ns-${part.type}`), NAMESPACE_LABELS[part.type]),
      h("span", null, detachment(container, part.type, [...store.containers.values()]) || { private: "its own", host: "the host's", shared: part.others.length ? `shared with ${part.others.join(", ")}` : "shared", unknown: "not known" }[part.kind]), h("code", { class: "faint" }, part.inode || ""))));
  }
}

customElements.define("container-overview", ContainerOverview);
