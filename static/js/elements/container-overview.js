// The first tab: facts, and charts of the last five minutes.

import "./time-chart.js";
import { containerUrl, perform } from "../actions.js";
import { api } from "../api.js";
import { RESTART_POLICIES, editLabels, setRestart } from "../changes.js";
import { h, icon, setText } from "../dom.js";
import { FactList } from "../fact_list.js";
import { toastError } from "../feedback.js";
import { joinCommand } from "../lib/argv.js";
import { isolationWarnings, living, networkNote, restartText } from "../lib/container_facts.js";
import * as format from "../lib/format.js";
import { NAMESPACE_LABELS, detachment, isolationOf } from "../lib/sharing.js";
import { listen, store } from "../store.js";
import { portItem } from "../port_item.js";

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
  #policy; // as it was drawn last

  open({ id }) {
    this.id_ = id;
    this.facts = new FactList("facts");
    this.restart = h("select", { "aria-label": "Restart policy", "data-testid": "restart-policy", on: { change: () => this.#setRestart() } }, Object.entries(RESTART_POLICIES).map(([value, text]) => h("option", { value }, text)));
    this.restarts = h("span", { class: "quiet small", "data-testid": "restarts", role: "status" });
    this.warning = h("div", { class: "banner", hidden: true, "data-testid": "isolation-warning" });
    this.isolation = h("ul", { class: "isolation" });
    this.charts = CHARTS.map((chart) => document.createElement("time-chart").build(chart));
    this.chartArea = h("div", { class: "charts" }, this.charts);
    this.unmeasured = h("p", { class: "panel-box body hint row wrap", hidden: true, "data-testid": "unmeasured" });
    this.append(this.warning, this.unmeasured, this.chartArea,
      h("div", { class: "grid-2" },
        h("section", { class: "panel-box", "aria-label": "Facts" }, h("header", null, h("h2", null, "Facts")), h("div", { class: "body" }, this.facts.element)),
        h("section", { class: "panel-box", "aria-label": "Isolation" }, h("header", null, h("h2", null, "Isolation")), h("div", { class: "body" }, this.isolation))));
    const { signal } = this.#abort;
    listen(signal, "containers", ({ changed }) => changed.length > 0 && this.#draw());
    listen(signal, "stats", () => this.#tick());
    let lost = false;
    listen(signal, "connection", (up) => {
      if (up && lost) this.#fill(); // what was missed meanwhile
      lost = !up;
    });
    this.#draw();
    this.#tick();
    this.#fill();
    this.#warn();
  }

  async #fill() {
    try {
      await store.fill(this.id_);
    } catch {
      return; // the charts begin with what comes live
    }
    this.#tick();
  }

  /** What its isolation gives up: it is decided when a container is made. */
  async #warn() {
    let found;
    try {
      found = isolationWarnings(await api.get(`/containers/${encodeURIComponent(this.id_)}/security`));
    } catch {
      return; // the tab "Security" says why
    }
    const weak = found.level === "weak";
    if (!found.warnings.length) return;
    this.warning.classList.add(weak ? "warn" : "info");
    this.warning.replaceChildren(icon(weak ? "warning" : "info"), h("div", null, h("p", null, h("b", null, weak ? "Weak isolation: a fault in it can become a fault of the host." : "Not everything is its own.")), h("ul", { class: "warnings" }, found.warnings.map((text) => h("li", null, text)))));
    this.warning.hidden = false;
  }

  async #setRestart() {
    const container = store.containers.get(this.id_);
    if (!container) return;
    try {
      await setRestart(container, this.restart.value);
    } catch (error) {
      this.restart.value = container.restart_policy;
      toastError(error);
    }
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  #tick() {
    const counted = this.#counted();
    for (const chart of this.charts) {
      const id = chart.spec.name === "net_in" ? counted : this.id_;
      chart.draw(store.history(id), store.stats.get(id));
    }
    this.#hideCharts();
  }

  /** What does not run and was not seen running has nothing to chart. */
  #hideCharts() {
    const container = store.containers.get(this.id_);
    if (!container) return;
    const empty = !living(container) && this.charts.every((chart) => !chart.values.length);
    this.chartArea.hidden = empty;
    this.unmeasured.hidden = !empty;
    if (!empty || this.unmeasured.childElementCount) return;
    const started = Boolean(container.started_at);
    this.unmeasured.replaceChildren(icon("info"), h("span", { class: "grow" }, started ? "It does not run, so there is nothing to measure. Its log may tell why." : "It was made and never started: start it, and its numbers appear here each second."),
      started ? h("a", { class: "button tiny", href: containerUrl(this.id_, "logs") }, icon("logs"), "What it wrote") : h("button", { type: "button", class: "tiny", on: { click: () => perform(this.id_, "start") } }, icon("play"), "Start"));
  }

  /** Whose row has the network's numbers: they are counted once for each namespace, so it may be one that shares it. */
  #counted() {
    const inode = store.containers.get(this.id_)?.namespaces?.net?.inode;
    const sharing = (inode && store.groups.get(`net:${inode}`)) || [];
    if (store.stats.get(this.id_)?.net_in != null) return this.id_;
    const id = sharing.find((other) => store.stats.get(other.id)?.net_in != null)?.id ?? this.id_;
    if (id !== this.id_ && id !== this.filled) {
      this.filled = id;
      store.fill(id).catch(() => null); // the chart begins with what comes live
    }
    return id;
  }

  #draw() {
    const container = store.containers.get(this.id_);
    if (!container) return;
    const parts = isolationOf(container, store.groups);
    this.charts.find((chart) => chart.spec.name === "net_in").note(networkNote(parts.find((part) => part.type === "net")));
    this.facts.draw(this.#facts(container));
    this.#hideCharts();
    this.isolation.replaceChildren(...parts.map((part) => h("li", { "data-ns": part.type, "data-kind": part.kind }, h("span", { class: "ns-tag" }, icon(`ns-${part.type}`), NAMESPACE_LABELS[part.type]),
      h("span", null, detachment(container, part.type, [...store.containers.values()]) || { private: "its own", host: "the host's", shared: part.others.length ? `shared with ${part.others.join(", ")}` : "shared", unknown: "not known" }[part.kind]), h("code", { class: "faint" }, part.inode || ""))));
  }

  /** [name, what it is drawn from, how] */
  #facts(container) {
    const code = (name, value, none) => [name, String(value || none), () => (value ? h("code", null, value) : none)];
    const text = (name, value) => [name, value == null ? null : String(value), String(value)];
    const policy = container.restart_policy ?? "no";
    if (policy !== this.#policy) this.restart.value = this.#policy = policy; // else it may be what was just chosen, on its way
    this.restart.disabled = container.stale;
    setText(this.restarts, restartText(container));
    return [
      code("Id", container.id), text("Image", container.image), code("Command", joinCommand(container.command ?? []), "the image's own"),
      ["Runs as", JSON.stringify([container.user, container.cwd]), () => h("span", null, "user ", h("code", null, container.user || "0:0"), " in ", h("code", null, container.cwd || "/"))],
      ["Process on the host", String(container.pid), () => (container.pid ? h("code", { "data-testid": "host-pid" }, container.pid) : "none")],
      text("Host name", container.hostname || format.UNKNOWN), code("Addresses", container.addresses?.join(", "), "none"),
      ["Ports", container.ports?.length ? JSON.stringify(container.ports) : null, () => h("span", { class: "inline-list" }, container.ports.map(portItem))],
      text("Networks", container.networks?.join(", ") || null), text("Health", container.health || null), ["Group", container.group || null, () => h("a", { href: `/groups/#${encodeURIComponent(container.group)}`, "data-testid": "container-group" }, container.group)],
      ["Restart policy", "drawn once", () => h("span", { class: "row wrap" }, this.restart, this.restarts)],
      ["Labels", JSON.stringify(container.labels ?? {}), () => this.#labels(container)],
      text("Started", container.started_at ? format.dateTime(container.started_at) : "not yet"), text("Ended", container.finished_at ? format.dateTime(container.finished_at) : null),
      text("Outcome", container.exit_code == null ? null : `exit code ${container.exit_code}${container.reason ? ` · ${container.reason}` : ""}`),
      text("Created", format.dateTime(container.created_at)), text("Owner", container.owner || "made outside the panel"), code("User map", container.user_map, "the host's users"), text("Node", container.node),
    ];
  }

  #labels(container) {
    const all = Object.entries(container.labels ?? {});
    const edit = container.engine === "raw" ? h("button", { type: "button", class: "tiny", "data-testid": "edit-labels", on: { click: () => editLabels(store.containers.get(this.id_)) } }, "Edit …") : null;
    return h("span", { class: "inline-list" }, all.length ? all.map(([name, value]) => h("code", null, value ? `${name}=${value}` : name)) : h("span", { class: "faint" }, "none"), edit);
  }
}

customElements.define("container-overview", ContainerOverview);
