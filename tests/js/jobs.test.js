import assert from "node:assert/strict";
import { test } from "node:test";
import { jobText } from "../../static/js/lib/jobs.js";

test("a job says its phase, and how far it is where that is known", () => {
  assert.equal(jobText({ state: "running", phase: "Unpacking", done: 0, total: 0 }), "Unpacking");
  assert.equal(jobText({ state: "running", phase: "Unpacking", done: 2 ** 20, total: 0 }), "Unpacking, 1 MiB");
  assert.equal(jobText({ state: "running", phase: "Unpacking", done: 2 ** 20, total: 2 ** 21 }), "Unpacking, 1 MiB of 2 MiB");
  assert.equal(jobText({ state: "failed", phase: "Unpacking", message: "It is no tar." }), "failed: It is no tar.");
});
