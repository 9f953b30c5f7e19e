import assert from "node:assert/strict";
import { mock, test } from "node:test";

import { debounce, throttle } from "../../static/js/lib/timing.js";

test("throttle sends the first at once and then only the latest", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const seen = [];
  const send = throttle((value) => seen.push(value), 50);
  for (let value = 0; value < 10; value += 1) send(value);
  assert.deepEqual(seen, [0]);
  mock.timers.tick(50);
  assert.deepEqual(seen, [0, 9]);
  send(10);
  send.flush();
  assert.deepEqual(seen, [0, 9, 10]);
  mock.timers.reset();
});

test("debounce sends once, after the last", () => {
  mock.timers.enable({ apis: ["setTimeout"] });
  const seen = [];
  const send = debounce((value) => seen.push(value), 50);
  send(1);
  mock.timers.tick(40);
  send(2);
  mock.timers.tick(40);
  assert.deepEqual(seen, []);
  mock.timers.tick(10);
  assert.deepEqual(seen, [2]);
  mock.timers.reset();
});
