import assert from "node:assert/strict";
import { test } from "node:test";

import { dependence, detachment } from "../../static/js/lib/sharing.js";

const provider = { id: "a1", name: "web", namespaces: { net: { inode: 7, mode: "bridge" } } };
const joined = (inode) => ({ id: "b2", name: "side", namespaces: { net: { inode, mode: "container:a1" } } });

test("one that is in the namespace it asked for is not detached", () => {
  assert.equal(detachment(joined(7), "net", [provider]), "");
  assert.equal(detachment(provider, "net", [provider]), "");
});

test("one that has an earlier run's namespace says from whom it is detached", () => {
  assert.match(detachment(joined(6), "net", [provider]), /^detached from web; restart/);
  assert.match(detachment(joined(6), "net", [{ ...provider, namespaces: { net: { inode: 0 } } }]), /earlier run of web/);
  assert.match(detachment(joined(6), "net", []), /gone/);
});

test("sharing process ids is more than sharing a network", () => {
  assert.match(dependence(["net", "pid"]), /ends with it/);
  assert.match(dependence(["net"]), /must be restarted/);
});
