import assert from "node:assert/strict";
import { test } from "node:test";

import { History, linePath, niceTop } from "../../static/js/lib/history.js";
import { freshName } from "../../static/js/lib/names.js";

test("a fresh name is valid and not taken", () => {
  const taken = new Set();
  for (let count = 0; count < 1000; count += 1) {
    const name = freshName(taken);
    assert.match(name, /^[a-z0-9][a-z0-9-]{0,62}$/);
    assert.ok(!taken.has(name));
    taken.add(name);
  }
});

test("a history keeps the last samples only", () => {
  const history = new History(3);
  for (const value of [1, 2, 3, 4]) history.push(value);
  assert.deepEqual(history.values, [2, 3, 4]);
});

test("an unknown sample breaks the line instead of drawing zero", () => {
  assert.equal(linePath([1, null, 1], 3, 10, 10, 1), "M0.0 0.0M10.0 0.0");
});

test("the top of a chart is a round number above the peak", () => {
  assert.deepEqual([0, 0.3, 7, 12, 100].map((peak) => niceTop(peak, 0.05)), [0.05, 0.5, 10, 20, 100]);
});
