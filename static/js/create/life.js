// Its life: how it begins and ends, what happens when it ends by itself, and its clocks.

import { h } from "../dom.js";
import { joinCommand, splitCommand } from "../lib/argv.js";
import { pairs } from "../lib/pairs.js";
import { check, field, input, number, rowList, select } from "./fields.js";

const RESOURCES = ["nofile", "nproc", "core", "stack", "memlock", "fsize", "cpu", "as", "data", "locks", "msgqueue", "nice", "rss", "rtprio", "rttime", "sigpending"];
const DAY = 86400;

const limitNumber = (text) => (/^(unlimited|-1)?$/.test(text) ? -1 : number(text));

export class LifeFields {
  constructor(touched) {
    this.hostname = input("hostname", "the name");
    this.cwd = input("cwd", "the image's");
    this.env = h("textarea", { name: "env", rows: 2, placeholder: "NAME=value, one a line", spellcheck: "false" });
    this.labels = h("textarea", { name: "labels", rows: 2, placeholder: "name=value, one a line", spellcheck: "false" });
    this.restart = select("restart", [["no", "stay ended"], ["on-failure", "restart on failure"], ["unless-stopped", "restart, unless I stopped it"], ["always", "restart always"]], { "data-testid": "create-restart" });
    this.retries = input("retries", "without end", { inputmode: "numeric" });
    this.stopSignal = input("stop_signal", "TERM");
    this.stopTimeout = input("stop_timeout", "10", { inputmode: "decimal" });
    this.oom = input("oom_score_adj", "0", { inputmode: "numeric" });
    this.boottime = input("boottime", "0", { inputmode: "numeric" });
    this.monotonic = input("monotonic", "0", { inputmode: "numeric" });
    this.init = check("init", "A small init as first process, which forwards signals and reaps");
    this.start = check("start", "Start it at once", true);
    this.rlimits = rowList({
      title: "Resource limits of a process (ulimit)", add: "Add a resource limit", touched, testid: "create-rlimit",
      columns: [
        { name: "name", label: "Resource", make: () => select("name", RESOURCES.map((name) => [name, name])) },
        { name: "soft", label: "Soft limit", make: () => input("soft", "soft, or unlimited", { size: 16 }) },
        { name: "hard", label: "Hard limit", make: () => input("hard", "hard, or unlimited", { size: 16 }) },
      ],
    });
    this.healthTest = input("health", "wget -q -O /dev/null http://127.0.0.1/", { "data-testid": "create-health" });
    this.healthTimes = { interval: input("health_interval", "30", { inputmode: "decimal" }), timeout: input("health_timeout", "30", { inputmode: "decimal" }), start_period: input("health_start_period", "0", { inputmode: "decimal" }), retries: input("health_retries", "3", { inputmode: "numeric" }) };
    this.health = h("fieldset", { class: "wide cols" }, h("legend", null, "Health check"), field("Command that says it is well", this.healthTest), field("Seconds between two", this.healthTimes.interval), field("Seconds that one may take", this.healthTimes.timeout), field("Seconds to begin with that do not count", this.healthTimes.start_period), field("Failures in a row that count", this.healthTimes.retries));
    this.element = h("details", null, h("summary", { class: "quiet" }, "Life: host name, directory, environment, restart, signals, clocks"),
      h("div", { class: "cols more" }, field("Host name", this.hostname), field("Working directory", this.cwd), field("Environment", this.env), field("Labels", this.labels),
        field("When it ends by itself", this.restart), field("Attempts on failure", this.retries), field("Signal that stops it", this.stopSignal), field("Seconds until it is killed", this.stopTimeout),
        field("OOM score (−1000 to 1000)", this.oom, "Higher is killed earlier when the host has no memory left."), h("span"),
        field("Boot clock, moved by seconds", this.boottime, `${DAY} is a day`), field("Monotonic clock, moved by seconds", this.monotonic),
        this.rlimits.element, this.health, this.init.element, this.start.element));
  }

  engineChanged(engine) {
    this.health.hidden = engine === "raw"; // Docker's word
  }

  show(spec) {
    for (const name of ["hostname", "cwd"]) this[name].value = spec[name] ?? "";
    const lines = (object = {}) => Object.entries(object).map(([name, value]) => `${name}=${value}`).join("\n");
    this.env.value = lines(spec.env);
    this.labels.value = lines(spec.labels);
    const restart = typeof spec.restart === "string" ? { policy: spec.restart } : spec.restart ?? {};
    this.restart.value = restart.policy ?? "no";
    this.retries.value = restart.retries || "";
    this.stopSignal.value = spec.stop_signal ?? "";
    this.stopTimeout.value = spec.stop_timeout ?? "";
    this.oom.value = spec.oom_score_adj ?? "";
    this.boottime.value = spec.time_offsets?.boottime ?? "";
    this.monotonic.value = spec.time_offsets?.monotonic ?? "";
    this.healthTest.value = joinCommand(spec.health?.test ?? []);
    for (const [name, control] of Object.entries(this.healthTimes)) control.value = spec.health?.[name] ?? "";
    this.init.box.checked = Boolean(spec.init);
    this.start.box.checked = spec.start !== false;
    this.rlimits.show(Object.entries(spec.rlimits ?? {}).map(([name, { soft, hard }]) => ({ name, soft, hard })));
  }

  read(body) {
    for (const name of ["hostname", "cwd"]) if (this[name].value.trim()) body[name] = this[name].value.trim();
    const env = pairs(this.env.value);
    if (env.length) body.env = Object.fromEntries(env);
    const labels = pairs(this.labels.value);
    if (labels.length) body.labels = Object.fromEntries(labels);
    const retries = this.retries.value.trim();
    if (this.restart.value !== "no" || retries) body.restart = { policy: this.restart.value, ...(retries ? { retries: number(retries) } : {}) };
    if (this.stopSignal.value.trim()) body.stop_signal = this.stopSignal.value.trim().toUpperCase();
    if (this.stopTimeout.value.trim()) body.stop_timeout = number(this.stopTimeout.value);
    if (number(this.oom.value)) body.oom_score_adj = number(this.oom.value);
    const offsets = Object.fromEntries(["boottime", "monotonic"].filter((clock) => number(this[clock].value)).map((clock) => [clock, number(this[clock].value)]));
    if (Object.keys(offsets).length) body.time_offsets = offsets;
    const rlimits = this.rlimits.values();
    if (rlimits.length) body.rlimits = Object.fromEntries(rlimits.map(({ name, soft, hard }) => [name, { soft: limitNumber(soft), hard: limitNumber(hard || soft) }]));
    const test = splitCommand(this.healthTest.value);
    const times = Object.entries(this.healthTimes).filter(([, control]) => control.value.trim()).map(([name, control]) => [name, number(control.value)]);
    if (test.length && !this.health.hidden) body.health = { test, ...Object.fromEntries(times) };
    if (this.init.box.checked) body.init = true;
    if (!this.start.box.checked) body.start = false;
  }
}
