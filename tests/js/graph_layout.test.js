import assert from "node:assert/strict";
import { test } from "node:test";

import { layout } from "../../static/js/lib/graph_layout.js";
import { NAMESPACE_TYPES, groupByInode, isolationOf, isolationText } from "../../static/js/lib/sharing.js";

function graphOf(names, shared = {}) {
  const nodes = [{ id: "host", kind: "host", name: "vm" }];
  const edges = [];
  for (const type of NAMESPACE_TYPES) nodes.push({ id: `ns:${type}:1`, kind: "namespace", type, inode: 1, initial: true });
  names.forEach((name, index) => {
    nodes.push({ id: `container:${name}`, kind: "container", container: name, name, engine: "raw", state: "running" });
    for (const type of NAMESPACE_TYPES) {
      const inode = type === "time" ? 1 : shared[name]?.includes(type) ? 100 : 100 + index * 10;
      const id = `ns:${type}:${inode}`;
      if (!nodes.some((node) => node.id === id)) nodes.push({ id, kind: "namespace", type, inode, initial: false });
      edges.push({ source: `container:${name}`, target: id, type });
    }
  });
  return { nodes, edges };
}

test("each container has a row, each namespace is drawn once", () => {
  const plan = layout(graphOf(["a", "b"]));
  assert.deepEqual(plan.rows.map((row) => row.node.name), ["vm", "a", "b"]);
  assert.equal(new Set(plan.nodes.map((node) => node.node.id)).size, plan.nodes.length);
  assert.equal(plan.nodes.length, 8 + 7 * 2);
});

test("those who share stand together and are joined by a lane", () => {
  const plan = layout(graphOf(["a", "b", "z"], { z: ["net"] }));
  assert.deepEqual(plan.rows.map((row) => row.node.name), ["vm", "a", "z", "b"]);
  const node = plan.nodes.find((candidate) => candidate.kind === "shared");
  assert.deepEqual([node.type, node.members.map((member) => member.name)], ["net", ["a", "z"]]);
  assert.equal(plan.lanes.filter((lane) => lane.type === "net" && !lane.initial).length, 1);
});

test("the host's own can be hidden, the filter says how many it hid", () => {
  const plan = layout(graphOf(["a", "b"]), { showInitial: false, matches: (node) => node.name === "a" });
  assert.ok(plan.nodes.every((node) => node.kind !== "initial"));
  assert.deepEqual([plan.rows.length, plan.hidden], [1, 1]);
});

test("lanes whose rows overlap lie side by side", () => {
  const plan = layout(graphOf(["a", "b", "c"], { c: ["time"] }), {});
  const lanes = plan.lanes.filter((lane) => lane.type === "time").map((lane) => lane.x);
  assert.equal(new Set(lanes).size, lanes.length);
});

test("isolation says what is shared, with whom, and what is the host's", () => {
  const make = (id, net) => ({ id, name: id, namespaces: { net: { inode: net, mode: "bridge", initial: false }, time: { inode: 1, mode: "host", initial: true } } });
  const containers = [make("a", 7), make("b", 7), make("c", 8)];
  const groups = groupByInode(containers);
  const parts = isolationOf(containers[0], groups);
  assert.equal(isolationText(parts), "net shared with b; the host's: time");
  assert.equal(isolationOf(containers[2], groups).find((part) => part.type === "net").kind, "private");
});
