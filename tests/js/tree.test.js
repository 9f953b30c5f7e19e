import assert from "node:assert/strict";
import { test } from "node:test";

import { treeLines } from "../../static/js/lib/tree.js";

const lines = (items) => treeLines(items, (one) => one.pid, (one) => one.ppid).map(({ item, branch }) => `${branch}${item.pid}`);

test("children stand below their parent, with branches", () => {
  const items = [{ pid: 10, ppid: 1 }, { pid: 11, ppid: 10 }, { pid: 12, ppid: 10 }, { pid: 13, ppid: 11 }];
  assert.deepEqual(lines(items), ["10", "├─ 11", "│  └─ 13", "└─ 12"]);
});

test("whose parent is elsewhere is a root", () => {
  assert.deepEqual(lines([{ pid: 5, ppid: 99 }, { pid: 6, ppid: 98 }]), ["5", "6"]);
});

test("parents that name each other lose nobody", () => {
  assert.deepEqual(lines([{ pid: 1, ppid: 2 }, { pid: 2, ppid: 1 }, { pid: 3, ppid: 3 }]).map((line) => line.replace(/\D/g, "")).sort(), ["1", "2", "3"]);
});
