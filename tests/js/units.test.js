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
  assert.equal(parseLimit("size", " "), null);
  assert.equal(parseLimit("count", "max"), null);
  assert.equal(parseLimit("count", "1.5"), undefined);
  assert.equal(parseLimit("share", "50%"), 0.5);
  assert.equal(parseLimit("cpuset", "0-1,3"), "0-1,3");
  assert.equal(parseLimit("cpuset", "a"), undefined);
  assert.equal(limitText("size", null), "");
});
