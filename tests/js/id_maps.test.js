import assert from "node:assert/strict";
import { test } from "node:test";

import { freeId } from "../../static/js/lib/id_maps.js";

const HOST = { base: 1000, count: 100 };

test("the last id of the range is the first to be offered", () => {
  assert.equal(freeId(HOST, []), 1099);
  assert.equal(freeId(HOST, ["", "0 1000 10", "0 500 1"]), 1099);
});

test("one that a sandbox has is passed over, in whatever line and order", () => {
  assert.equal(freeId(HOST, ["0 1099 1"]), 1098);
  assert.equal(freeId(HOST, ["0 1000 10, 70 1090 5", "0 1098 1", "0 1095 3", "0 1099 1"]), 1089);
});

test("where every id is taken, or there is no range, none is offered", () => {
  assert.equal(freeId(HOST, ["0 1000 100"]), null);
  assert.equal(freeId({ base: 0, count: 0 }, []), null);
});
