// Numbers as people read them. null and undefined are unknown ("–"), never 0.

export const UNKNOWN = "–";
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];

function unitOf(bytes) {
  let power = 0;
  for (let rest = Math.abs(bytes); rest >= 1000 && power < UNITS.length - 1; rest /= 1024) power += 1;
  return power;
}

function digits(number) {
  if (number === 0) return "0";
  if (number < 10) return number.toFixed(number % 1 ? 1 : 0).replace(/\.0$/, "");
  return String(Math.round(number));
}

/** 42991616 → "41 MiB" */
export function bytes(value) {
  if (value == null) return UNKNOWN;
  const power = unitOf(value);
  return `${digits(value / 1024 ** power)} ${UNITS[power]}`;
}

/** (42991616, 67108864) → "41 / 64 MiB"; without a limit "41 MiB". One unit for both where they are near. */
export function bytesOf(used, limit) {
  if (limit == null) return bytes(used);
  if (used == null) return `${UNKNOWN} / ${bytes(limit)}`;
  const [a, b] = [unitOf(used), unitOf(limit)];
  if (a === b) return `${digits(used / 1024 ** a)} / ${bytes(limit)}`;
  return `${bytes(used)} / ${bytes(limit)}`;
}

/** bytes per second → "1.2 MiB/s" */
export function rate(value) {
  return value == null ? UNKNOWN : `${bytes(value)}/s`;
}

/** cores in use, always two decimals so that columns stay still: 0.21 */
export function cores(value) {
  if (value == null) return UNKNOWN;
  return value >= 99.95 ? String(Math.round(value)) : value.toFixed(value >= 9.995 ? 1 : 2);
}

export function coresOf(used, limit) {
  return limit == null ? cores(used) : `${cores(used)} / ${cores(limit)}`;
}

export function countOf(used, limit) {
  return limit == null ? count(used) : `${count(used)} / ${count(limit)}`;
}

export function count(value) {
  return value == null ? UNKNOWN : String(value).replace(/\B(?=(\d{3})+$)/g, " ");
}

/** share of 1 → "12 %" */
export function percent(share) {
  if (share == null) return UNKNOWN;
  const value = share * 100;
  return `${value > 0 && value < 9.95 ? value.toFixed(1) : Math.round(value)} %`;
}

/** seconds → "3 s", "12 min", "5 h", "4 days" */
export function duration(seconds) {
  if (seconds == null) return UNKNOWN;
  const value = Math.max(0, Math.floor(seconds));
  if (value < 60) return `${value} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min`;
  if (value < 86400) return `${Math.floor(value / 3600)} h`;
  const days = Math.floor(value / 86400);
  return days === 1 ? "1 day" : `${days} days`;
}

export function ago(time, now = Date.now() / 1000) {
  if (!time) return UNKNOWN;
  return now - time < 2 ? "just now" : `${duration(now - time)} ago`;
}

/** Unix seconds → "14:03:22" of the reader's own clock */
export function clock(time) {
  const date = new Date(time * 1000);
  return [date.getHours(), date.getMinutes(), date.getSeconds()].map((part) => String(part).padStart(2, "0")).join(":");
}

export function dateTime(time) {
  if (!time) return UNKNOWN;
  const date = new Date(time * 1000);
  const day = [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((part) => String(part).padStart(2, "0")).join("-");
  return `${day} ${clock(time)}`;
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

export function shortId(id) {
  return id.slice(0, 12);
}
