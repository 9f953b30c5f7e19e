import assert from "node:assert/strict";
import { test } from "node:test";

import { effectsOf, pressureOf, pressureWords } from "../../static/js/lib/limit_effects.js";

const texts = (...words) => effectsOf(...words).map((effect) => effect.text);

test("what a limit does is said in the kernel's own words", () => {
  assert.deepEqual(texts("memory", { memory_max: 5, oom: null, oom_kill: 2 }), ["max hit 5 times", "oom_kill 2"]);
  assert.deepEqual(texts("pids", { pids_max: 1 }), ["max hit once"]);
  assert.deepEqual(texts("cpu", { throttled: 3.21 }, { throttled: 0.25 }), ["25 % throttled", "held back 3.2 s in all"]);
  assert.deepEqual(texts("io_read_bytes", { io_waited: 0.0123 }), ["waited 13 ms for disks"]);
  assert.equal(effectsOf("memory", { oom_kill: 1 })[0].tone, "bad");
});

test("what a group's limit does is counted there", () => {
  assert.deepEqual(effectsOf("memory", { memory_max: 0, oom: 0, oom_kill: 0 }, null, false).map(({ text }) => text), ["its group's limit is the tighter one, and counts there"]);
  assert.deepEqual(effectsOf("memory", { memory_max: 0, oom: 0, oom_kill: 2 }, null, false).map(({ text }) => text), ["oom_kill 2"]);
});

test("never is not the same as not counted, and not known is nothing", () => {
  assert.deepEqual(texts("pids", { pids_max: 0 }), ["never hit"]);
  assert.deepEqual(texts("memory_low", { memory_low: null }), ["not counted by this kernel"]);
  assert.deepEqual(texts("memory", null), []);
  assert.deepEqual(texts("net_in", { pids_max: 3 }), []);
});

test("pressure is that of the limit's own resource", () => {
  const events = { cpu_pressure: 12.5, memory_pressure: 0, io_pressure: null };
  assert.deepEqual(["cpu_weight", "swap", "io_write_ops", "pids"].map((name) => pressureOf(name, events)), [12.5, 0, null, null]);
  assert.equal(pressureWords(12.5), "pressure 13 %");
  assert.equal(pressureWords(null), "");
});
