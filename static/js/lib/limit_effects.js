// What a limit does to its container, from the kernel's counters: words for beside its slider. Null is "not counted", and said.

import { count, percent } from "./format.js";

const RESOURCES = { cpu: "cpu", cpu_weight: "cpu", cpuset: "cpu", memory: "memory", memory_high: "memory", memory_low: "memory", swap: "memory" };
const times = (number) => (number === 1 ? "once" : `${count(number)} times`);
const seconds = (value) => (value < 0.1 ? `${Math.ceil(value * 1000)} ms` : value < 9.95 ? `${value.toFixed(1)} s` : `${count(Math.round(value))} s`);
// limit → counter, its words, and how bad it is when it is not 0
const COUNTERS = {
  cpu: [["throttled", (value) => `held back ${seconds(value)} in all`, ""]],
  memory: [["memory_max", (value) => `max hit ${times(value)}`, "warn"], ["oom", (value) => `oom ${count(value)}`, "bad"], ["oom_kill", (value) => `oom_kill ${count(value)}`, "bad"]],
  memory_high: [["memory_high", (value) => `slowed down ${times(value)}`, "warn"]],
  memory_low: [["memory_low", (value) => `reclaimed below it ${times(value)}`, "warn"]],
  pids: [["pids_max", (value) => `max hit ${times(value)}`, "bad"]],
  io_weight: [["io_waited", (value) => `waited ${seconds(value)} for disks`, ""]],
};
const resourceOf = (name) => RESOURCES[name] ?? (name.startsWith("io_") ? "io" : null);

/** Per cent of the last ten seconds in which something waited for what the limit is of; null where not known. */
export function pressureOf(name, events) {
  return events?.[`${resourceOf(name)}_pressure`] ?? null;
}

/** → [{text, tone: "" | "warn" | "bad"}] for the limit of this name. own: it is the tightest one, not that of a group above */
export function effectsOf(name, events, stats, own = true) {
  if (!events) return [];
  const found = [];
  if (name === "cpu" && stats?.throttled != null) found.push({ text: `${percent(stats.throttled)} throttled`, tone: stats.throttled >= 0.05 ? "warn" : "" });
  const counters = COUNTERS[name] ?? (name.startsWith("io_") ? COUNTERS.io_weight : []);
  const counted = counters.filter(([counter]) => events[counter] != null);
  for (const [counter, words, tone] of counted) {
    const value = events[counter];
    if (value > 0) found.push({ text: words(value), tone });
  }
  if (counters.length && !counted.length) found.push({ text: "not counted by this kernel", tone: "" });
  else if (counted.length && !found.length) found.push({ text: name.startsWith("io_") ? "never waited for disks" : own ? "never hit" : "its group's limit is the tighter one, and counts there", tone: "" });
  return found;
}

export function pressureWords(pressure) {
  return pressure == null ? "" : `pressure ${percent(pressure / 100)}`;
}
