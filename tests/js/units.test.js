import assert from "node:assert/strict";
import { test } from "node:test";

import { limitText, parseLimit, parseSize, sizeText } from "../../static/js/lib/units.js";

test("sizes are read as the API reads them", () => {
  assert.equal(parseSize("64M"), 64 * 2 ** 20);
  assert.equal(parseSize("1.5 GiB"), 1.5 * 2 ** 30);
  assert.equal(parseSize("512"), 512);
  for (const wrong of ["", "-1", "64X", "1e9", "٦٤M", "NaN"]) assert.ok(Number.isNaN(parseSize(wrong)), wrong);
});

test("a size's text reads back as the same size", () => {
  for (const value of [1, 4096, 67108864, 1.5 * 2 ** 30, 68157440, 123456789, 24 * 2 ** 30]) assert.equal(parseSize(sizeText(value)), value);
  assert.equal(sizeText(67108864), "64M");
});

test("an empty box is no limit, nonsense is nothing", () => {
  assert.equal(parseLimit({ kind: "size" }, " "), null);
  assert.equal(parseLimit({ kind: "count" }, "max"), null);
  assert.equal(parseLimit({ kind: "count" }, "1.5"), undefined);
  assert.equal(parseLimit({ kind: "share" }, "50%"), 0.5);
  assert.equal(parseLimit({ kind: "cpuset" }, "0-1,3"), "0-1,3");
  assert.equal(parseLimit({ kind: "cpuset" }, "a"), undefined);
  assert.equal(limitText({ kind: "size" }, null), "");
});

test("a rate may say its second, another limit may not", () => {
  const rate = { kind: "size", unit: "bytes/s" };
  for (const text of ["4M", "4M/s", "4 MiB / s", "4M/sec"]) assert.equal(parseLimit(rate, text), 4 * 2 ** 20, text);
  assert.equal(limitText(rate, 4 * 2 ** 20), "4M/s");
  assert.equal(parseLimit({ kind: "count", unit: "operations/s" }, "200/s"), 200);
  assert.equal(parseLimit({ kind: "size", unit: "bytes" }, "4M/s"), undefined);
});
