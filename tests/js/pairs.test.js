import assert from "node:assert/strict";
import { test } from "node:test";

import { pairs } from "../../static/js/lib/pairs.js";

test("a line is a name and what follows its first equals sign", () => {
  assert.deepEqual(pairs("  A=1\n\nB=x=y\nC\nD=\n"), [["A", "1"], ["B", "x=y"], ["C", ""], ["D", ""]]);
});
