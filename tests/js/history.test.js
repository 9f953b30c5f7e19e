import assert from "node:assert/strict";
import { test } from "node:test";

import { History, everySecond } from "../../static/js/lib/history.js";

test("rows of ten seconds and of one become a value for each second", () => {
  const rows = [[100, 1], [110, 2], [111, 3], [112, 4]];
  assert.deepEqual(everySecond(rows, 1, 300), [1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 4]);
  assert.deepEqual(everySecond(rows, 1, 4), [2, 2, 3, 4]);
  assert.deepEqual(everySecond([], 1, 300), []);
});

test("rows a little off the second leave no gap", () => {
  const times = [0, 1.3, 2.6, 12.2, 12.9, 14.4, 15.5, 16.5];
  const values = everySecond(times.map((time) => [1000 + time, 1]), 1, 300);
  assert.deepEqual(values, new Array(values.length).fill(1));
});

test("what is unknown, and a gap between rows, stays unknown", () => {
  assert.deepEqual(everySecond([[100, 1], [101, null], [102, 3]], 1, 300), [1, null, 3]);
  const values = everySecond([[100, 1], [130, 2]], 1, 300);
  assert.deepEqual([values[0], values[1], values[15], values[16], values[30]], [1, null, null, 2, 2]);
});

test("a history that is begun keeps the newest of what came live, and its size", () => {
  const history = new History(4);
  for (const value of [1, 2, 3]) history.push(value);
  history.begin([7, 8, 9], 1);
  assert.deepEqual(history.values, [7, 8, 9, 3]);
  history.begin([5, 6], 0);
  assert.deepEqual(history.values, [5, 6]);
  history.begin([0, 0, 0, 1], 2);
  assert.deepEqual(history.values, [0, 1, 5, 6]);
});
