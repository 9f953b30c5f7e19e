// What people type into a limit's box, and what stands there. Mirrors parse_limit of the API, which has the last word.

const SIZE = /^([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?$/i;
const POWERS = { "": 0, K: 1, M: 2, G: 3, T: 4 };
const CPUSET = /^[0-9]{1,4}(-[0-9]{1,4})?(,[0-9]{1,4}(-[0-9]{1,4})?)*$/;

/** "64M" → 67108864; what is no size → NaN */
export function parseSize(text) {
  const match = SIZE.exec(text.trim());
  return match ? Math.floor(Number(match[1]) * 1024 ** POWERS[match[2].toUpperCase()]) : NaN;
}

/** 67108864 → "64M": the shortest text that parses back to the same number, two decimals at most */
export function sizeText(value) {
  for (const letter of ["T", "G", "M", "K"]) {
    const scaled = value / 1024 ** POWERS[letter];
    const rounded = Math.round(scaled * 100) / 100;
    if (scaled >= 1 && Math.floor(rounded * 1024 ** POWERS[letter]) === value) return `${rounded}${letter}`;
  }
  return String(value);
}

/** "0.5" → 0.5, "50%" → half of a core */
export function parseShare(text) {
  const match = /^([0-9]+(?:\.[0-9]+)?)\s*(%?)$/.exec(text.trim());
  return match ? Number(match[1]) / (match[2] ? 100 : 1) : NaN;
}

const PER_SECOND = /\s*\/\s*s(ec|econd)?$/i; // rates may say so, and nothing else may

/** Text of a limit's box → the value for the API; null is "no limit", undefined is "can't be meant". */
export function parseLimit({ kind, unit = "" }, text) {
  const plain = unit.endsWith("/s") ? text.trim().replace(PER_SECOND, "") : text.trim();
  if (plain === "" || /^(max|none|no limit|∞)$/i.test(plain)) return null;
  if (kind === "cpuset") return CPUSET.test(plain) ? plain : undefined;
  const value = kind === "size" ? parseSize(plain) : kind === "share" ? parseShare(plain) : /^[0-9]+$/.test(plain) ? Number(plain) : NaN;
  return Number.isFinite(value) ? value : undefined;
}

export function limitText({ kind, unit = "" }, value) {
  if (value == null) return "";
  const text = kind === "size" ? sizeText(value) : String(kind === "share" ? Math.round(value * 1000) / 1000 : value);
  return unit.endsWith("/s") ? `${text}/s` : text;
}
