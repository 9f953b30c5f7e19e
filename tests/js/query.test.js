import assert from "node:assert/strict";
import { test } from "node:test";

import { parseQuery } from "../../static/js/lib/query.js";

const web = { container: { id: "3f0c00000000", name: "web-1", engine: "raw", state: "running", image: "busybox", owner: "kim", namespaces: { time: { mode: "host", initial: true }, net: { mode: "bridge" } } }, stats: { cpu: 0.21, memory: 41 * 2 ** 20, pids: 7 } };
const db = { container: { id: "aa11", name: "db", engine: "docker", state: "exited", image: "postgres:16", namespaces: {} }, stats: undefined };
const matches = (text, row) => parseQuery(text).matches(row);

test("an empty filter matches everything", () => {
  assert.ok(matches("", web) && matches("  ", db));
});

test("every word must hold", () => {
  assert.ok(matches("state:running engine:raw web", web));
  assert.ok(!matches("state:running engine:raw web", db));
});

test("numbers are compared in the units that people write", () => {
  assert.ok(matches("cpu>5%", web) && matches("cpu>=0.21", web) && matches("memory<64M", web) && matches("pids=7", web));
  assert.ok(!matches("cpu>50%", web));
  assert.ok(!matches("cpu<5%", db), "what is unknown is not small");
});

test("a minus turns a word around, a bar offers a choice", () => {
  assert.ok(matches("-web", db) && !matches("-web", web));
  assert.ok(matches("web|db", web) && matches("web|db", db) && matches("state:exited|paused", db));
  assert.ok(matches("ns:time", web) && !matches("ns:net", web));
});

test("a comparison without a number is said, not obeyed", () => {
  const query = parseQuery("cpu>lots");
  assert.ok(query.problem.includes("cpu>lots"));
  assert.ok(query.matches(db));
});
