// The host: facts, engines, and checks of what the panel needs from it.

import { h, icon, pageData } from "../dom.js";
import * as format from "../lib/format.js";

const box = (title, ...content) => h("section", { class: "panel-box", "aria-label": title }, h("header", null, h("h2", null, title)), content);

const VERDICTS = new Map([[true, { tone: "good", icon: "check", text: "ok" }], [false, { tone: "warn", icon: "warning", text: "missing" }], [null, { tone: "", icon: "info", text: "not known" }]]);

function check(item) {
  const verdict = VERDICTS.get(item.ok);
  return h("li", { class: "check", "data-testid": "check", "data-name": item.name, "data-ok": item.ok }, h("span", { class: `badge ${verdict.tone}` }, icon(verdict.icon), verdict.text),
    h("div", null, h("b", null, item.name), " ", h("span", { class: "quiet" }, item.detail), !item.ok && item.hint ? h("p", { class: "hint" }, item.hint) : null));
}

class HostPage extends HTMLElement {
  connectedCallback() {
    const { host = {} } = pageData();
    const version = { v1: "version 1", v2: "version 2, unified", hybrid: "hybrid: version 1 and 2 side by side" }[host.cgroups] ?? host.cgroups;
    const facts = { "Host name": host.hostname, Node: host.node, Kernel: h("code", null, host.kernel ?? format.UNKNOWN), CPUs: host.cpus, Memory: format.bytes(host.memory_total), "Control groups": version };
    const failing = (host.checks ?? []).filter((item) => item.ok === false);
    const controllers = Array.isArray(host.controllers) ? Object.fromEntries(host.controllers.map((name) => [name, ""])) : host.controllers ?? {};
    this.append(
      h("div", { class: "page-head" }, h("h1", null, "Host"), h("span", { class: "sub" }, failing.length ? `${format.plural(failing.length, "check")} to look at` : "everything that the panel needs is here")),
      h("div", { class: "grid-2" },
        h("div", { class: "stack" },
          box("Facts", h("div", { class: "body" }, h("dl", { class: "facts", "data-testid": "host-facts" }, Object.entries(facts).map(([name, value]) => [h("dt", null, name), h("dd", null, value ?? format.UNKNOWN)])))),
          box("Engines", h("ul", { class: "body stack" }, (host.engines ?? []).map((engine) => h("li", { class: "check", "data-testid": "engine", "data-name": engine.name }, h("span", { class: `badge ${engine.available ? "good" : "warn"}` }, icon(engine.available ? "check" : "warning"), engine.available ? "up" : "down"),
            h("div", null, h("b", null, engine.name), " ", h("span", { class: "quiet" }, engine.name === "docker" && !engine.available ? "Docker is not running here; sandboxes work without it." : engine.detail), !engine.available && engine.hint ? h("p", { class: "hint" }, engine.hint) : null))))),
          box("Cgroup controllers", h("div", { class: "body" }, h("dl", { class: "facts" }, Object.entries(controllers).map(([name, where]) => [h("dt", null, name || "unified"), h("dd", null, h("code", null, String(where)))]))))),
        box("Checks", h("ul", { class: "body stack" }, [...failing, ...(host.checks ?? []).filter((item) => item.ok !== false)].map(check)))));
  }
}

customElements.define("host-page", HostPage);
