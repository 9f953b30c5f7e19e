import assert from "node:assert/strict";
import { test } from "node:test";

import { STEPS, makeScale } from "../../static/js/lib/scale.js";

const memory = makeScale({ kind: "size", minimum: 1 << 20, maximum: 24 * 2 ** 30 });

test("a wide range is logarithmic, a narrow one is not", () => {
  assert.equal(memory.log, true);
  assert.equal(makeScale({ kind: "count", minimum: 1, maximum: 40 }).log, false);
});

test("the ends of the track are the ends of the range", () => {
  assert.equal(memory.toValue(0), 1 << 20);
  assert.equal(memory.toValue(STEPS), 24 * 2 ** 30);
  assert.equal(memory.toPosition(1), 0);
  assert.equal(memory.toPosition(2 ** 60), STEPS);
});

test("values never fall while the slider rises, and stay whole", () => {
  for (const scale of [memory, makeScale({ kind: "share", minimum: 0.01, maximum: 2 }), makeScale({ kind: "count", minimum: 1, maximum: 32768 })]) {
    let last = 0;
    for (let position = 0; position <= STEPS; position += 1) {
      const value = scale.toValue(position);
      assert.ok(value >= last, `${value} after ${last}`);
      last = value;
    }
  }
  assert.equal(memory.toValue(431) % (1 << 20), 0);
});

test("a value comes back from its own place nearly unchanged", () => {
  for (const value of [8, 64, 512, 4096].map((mebi) => mebi * 2 ** 20)) {
    const back = memory.toValue(memory.toPosition(value));
    assert.ok(Math.abs(back - value) / value < 0.02, `${value} → ${back}`);
  }
});

test("where nothing at all is allowed, the track begins with it", () => {
  assert.equal(makeScale({ kind: "size", minimum: 0, maximum: 2 ** 30 }).toValue(0), 0);
});

test("a rate's small values have room too", () => {
  const scale = makeScale({ kind: "size", minimum: 64 * 1024, maximum: 10 * 2 ** 30 });
  assert.ok(scale.toPosition(2 ** 20) > 200);
  assert.ok(Math.abs(scale.toValue(scale.toPosition(200 * 1024)) / (200 * 1024) - 1) < 0.02);
});
