import assert from "node:assert/strict";
import { test } from "node:test";

import * as format from "../../static/js/lib/format.js";

test("unknown is a dash, never zero", () => {
  for (const write of [format.bytes, format.cores, format.count, format.percent, format.rate, format.duration]) {
    assert.equal(write(null), "–");
    assert.equal(write(undefined), "–");
  }
});

test("used and limit share one unit where they are near", () => {
  assert.equal(format.bytesOf(41 * 2 ** 20, 64 * 2 ** 20), "41 / 64 MiB");
  assert.equal(format.bytesOf(600 * 1024, 64 * 2 ** 20), "600 KiB / 64 MiB");
  assert.equal(format.bytesOf(3.1 * 2 ** 30, null), "3.1 GiB");
  assert.equal(format.bytesOf(null, 64 * 2 ** 20), "– / 64 MiB");
});

test("cores always have two decimals, so that columns stay still", () => {
  assert.equal(format.coresOf(0.214, 0.5), "0.21 / 0.50");
  assert.equal(format.cores(0), "0.00");
  assert.equal(format.cores(12), "12.0");
});

test("counts are grouped by thousands", () => {
  assert.equal(format.count(1234567), "1 234 567");
  assert.equal(format.countOf(7, 50), "7 / 50");
});

test("time is told in its largest unit", () => {
  assert.deepEqual([0, 59, 61, 7200, 90000, 200000].map(format.duration), ["0 s", "59 s", "1 min", "2 h", "1 day", "2 days"]);
  assert.equal(format.ago(100, 101), "just now");
  assert.equal(format.ago(100, 220), "2 min ago");
});
