// The host in the top bar: its name, CPU, memory and pressure, live.

import "./spark-line.js";
import { h, setText } from "../dom.js";
import * as format from "../lib/format.js";
import { History } from "../lib/history.js";
import { listen, store } from "../store.js";

const SAMPLES = 60;

class HostMeter extends HTMLElement {
  #abort = new AbortController();
  #cpu = new History(SAMPLES);

  connectedCallback() {
    this.spark = document.createElement("spark-line");
    this.parts = Object.fromEntries(["cpu", "mem", "psi"].map((name) => [name, h("b", { class: `w-${name}` }, format.UNKNOWN)]));
    this.append(
      h("span", { class: "meter wide", title: "This panel's host" }, h("span", { class: "quiet" }, "host"), h("b", null, this.dataset.node)),
      h("span", { class: "meter", title: "CPU of the host in use" }, "cpu", this.spark, this.parts.cpu),
      h("span", { class: "meter", title: "Memory of the host in use" }, h("span", { class: "wide" }, "mem"), this.parts.mem),
      h("span", { class: "meter wide", title: "Pressure: the share of the last 10 seconds in which something waited for CPU, memory or I/O" }, "psi", this.parts.psi));
    listen(this.#abort.signal, "stats", () => this.#draw());
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  #draw() {
    const host = store.host;
    if (!host) return;
    this.#cpu.push(host.cpu);
    this.spark.draw(this.#cpu.values, host.cpus);
    setText(this.parts.cpu, host.cpu == null ? format.UNKNOWN : format.percent(host.cpu / host.cpus));
    setText(this.parts.mem, format.bytesOf(host.memory, host.memory_total));
    const pressure = Object.values(host.pressure ?? {});
    setText(this.parts.psi, pressure.length ? Math.max(...pressure).toFixed(1) : format.UNKNOWN);
  }
}

customElements.define("host-meter", HostMeter);
