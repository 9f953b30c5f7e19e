// The table of limits as sliders: one for each limit, or, where its value is an object, one for each disk or size of huge page.

import { bytes, cores, count } from "./format.js";
import { parseLimit } from "./units.js";

export const SECTIONS = [
  ["CPU", ["cpu", "cpu_weight", "cpuset"]],
  ["Memory", ["memory", "memory_high", "memory_low", "swap"]],
  ["Processes", ["pids"]],
  ["Disk", ["io_read_bytes", "io_write_bytes", "io_read_ops", "io_write_ops", "io_weight"]],
  ["Network", ["net_in", "net_out"]],
  ["Huge pages", ["hugetlb"]],
];
const PARTED = { disk_size: "size", disk_count: "count", page_size: "size" }; // kind of an object → kind of its numbers
// Ends of the track where neither table nor host says them: what disks, hosts and people have, not what the API takes.
const RANGES = { disk_size: [64 * 2 ** 10, 10 * 2 ** 30], disk_count: [10, 1e6], size: [0, 64 * 2 ** 30], page_size: [0, 64 * 2 ** 30], share: [0.01, 64], count: [1, 32768], weight: [1, 10000] };

const ASIDE = /^(loop|ram|zram|sr|fd)\d/; // devices that are rarely limited, of which hosts can have dozens

const isObject = (value) => value !== null && typeof value === "object";

/** Rows of the table → [[title, rows]], without empty sections; what no section names comes last. */
export function sectionsOf(table) {
  const rows = new Map(table.map((row) => [row.name, row]));
  const known = new Set(SECTIONS.flatMap(([, names]) => names));
  const sections = [...SECTIONS, ["Others", [...rows.keys()].filter((name) => !known.has(name))]];
  return sections.map(([title, names]) => [title, names.filter((name) => rows.has(name)).map((name) => rows.get(name))]).filter(([, found]) => found.length);
}

/** A row and what it can be set for → its dials {name, part, key, label, kind, unit, help, minimum, maximum}; part is "" where it is one number. */
export function dialsOf(row, { parts = [], maximum = null } = {}) {
  const dial = (part) => {
    const [low, high] = RANGES[row.kind] ?? [0, 0];
    return {
      name: row.name, part, key: part ? `${row.name}-${part}` : row.name, label: part ? `${row.label}, ${part}` : row.label, kind: PARTED[row.kind] ?? row.kind,
      unit: row.unit, help: row.help, minimum: Math.max(row.minimum, row.kind in PARTED ? low : 0), maximum: maximum ?? row.maximum ?? high,
    };
  };
  return row.kind in PARTED && parts.length ? parts.map(dial) : [dial("")];
}

/** Is this dial of a device that is kept out of sight until it is asked for? */
export function isAside({ part }) {
  return ASIDE.test(part);
}

const partOf = (value, part) => (isObject(value) ? (part ? value[part] ?? null : null) : value ?? null);

/** One dial's share of a limit's reading. */
export function readingOf(reading, part) {
  if (!reading) return null;
  const [requested, kernel, effective] = [reading.requested, reading.kernel, reading.effective].map((value) => partOf(value, part));
  return { ...reading, requested, kernel, effective, drift: Boolean(reading.drift) && (!part || requested !== kernel) };
}

/** changes with one more, the parts of a limit beside one another */
export function withChange(changes, { name, part, value }) {
  return { ...changes, [name]: part ? { ...changes[name], [part]: value } : value };
}

/** The change of a limit that leaves `wanted`, and no other part of what is there `now`. */
export function changeTo(wanted, now) {
  if (!isObject(wanted) || !isObject(now)) return wanted ?? null;
  return { ...Object.fromEntries(Object.keys(now).map((part) => [part, null])), ...wanted };
}

/** A limit's value as people read it: with its unit, null is "no limit". */
export function limitWords({ kind, unit = "" }, value) {
  if (value == null) return "no limit";
  if (isObject(value)) {
    const entries = Object.entries(value);
    return entries.length ? entries.map(([part, amount]) => `${part} ${limitWords({ kind: PARTED[kind] ?? "count", unit }, amount)}`).join(", ") : "no limit";
  }
  if (kind === "cpuset") return `CPUs ${value}`;
  if (typeof value === "string") return limitWords({ kind, unit }, parseLimit({ kind, unit }, value)); // of a preset: "64M"
  const persecond = unit.endsWith("/s") ? "/s" : "";
  if (kind === "size") return bytes(value) + persecond;
  return kind === "share" ? `${cores(value)} cores` : count(value) + persecond;
}

/** Limits of a preset or template → "CPU 0.50 cores, Disk reads vda 4 MiB/s" */
export function limitsWords(table, limits) {
  const rows = new Map(table.map((row) => [row.name, row]));
  return Object.entries(limits).map(([name, value]) => `${rows.get(name)?.label ?? name} ${limitWords(rows.get(name) ?? { kind: "count" }, value)}`).join(", ");
}
