// The filter box: "state:running engine:raw cpu>5% web|db -test" → a predicate over {container, stats}.

import { parseSize } from "./units.js";

const TOKEN = /"([^"]*)"|\S+/g;
const COMPARISON = /^(cpu|mem|memory|pids)(>=|<=|>|<|=)(.+)$/i;
const FIELD = /^(state|engine|image|name|owner|id|pid|ns|shared|node):(.+)$/i;
const COMPARE = { ">": (a, b) => a > b, "<": (a, b) => a < b, ">=": (a, b) => a >= b, "<=": (a, b) => a <= b, "=": (a, b) => a === b };

function amount(field, text) {
  if (field === "cpu") return text.endsWith("%") ? Number(text.slice(0, -1)) / 100 : Number(text);
  return field === "pids" ? Number(text) : parseSize(text);
}

function comparison([, name, sign, text]) {
  const field = name.toLowerCase() === "mem" ? "memory" : name.toLowerCase();
  const wanted = amount(field, text);
  if (!Number.isFinite(wanted)) return null;
  return ({ stats }) => stats != null && stats[field] != null && COMPARE[sign](stats[field], wanted);
}

function values(container, field) {
  if (field === "ns") return Object.entries(container.namespaces ?? {}).filter(([, view]) => view.initial || view.mode === "host").map(([type]) => type);
  if (field === "shared") return container.shared ?? [];
  if (field === "name") return [container.name];
  return [String(container[field] ?? "")];
}

function fieldTest([, name, text]) {
  const field = name.toLowerCase();
  const exact = ["state", "engine", "pid", "ns", "shared"].includes(field);
  const wanted = text.toLowerCase().split("|").filter(Boolean);
  return ({ container }) => values(container, field).some((value) => wanted.some((word) => (exact ? value.toLowerCase() === word : value.toLowerCase().includes(word))));
}

function wordTest(word) {
  const wanted = word.toLowerCase().split("|").filter(Boolean);
  return ({ container }) => {
    const hay = `${container.name} ${container.image} ${container.id}`.toLowerCase();
    return wanted.some((part) => hay.includes(part));
  };
}

/** → {matches({container, stats}), usesStats, problem}; every word must hold, "-" negates, "a|b" is either. */
export function parseQuery(text) {
  const tests = [];
  let usesStats = false;
  let problem = "";
  for (const match of text.matchAll(TOKEN)) {
    const negate = match[1] === undefined && match[0].length > 1 && match[0].startsWith("-");
    const word = match[1] ?? (negate ? match[0].slice(1) : match[0]);
    const compared = COMPARISON.exec(word);
    const field = FIELD.exec(word);
    let test = match[1] === undefined && compared ? comparison(compared) : field ? fieldTest(field) : wordTest(word);
    if (compared && !test) problem = `${word} has no number that can be compared.`;
    if (compared) usesStats = true;
    if (!test) continue;
    const plain = test;
    if (negate) test = (row) => !plain(row);
    tests.push(test);
  }
  return { matches: (row) => tests.every((test) => test(row)), usesStats, problem };
}
