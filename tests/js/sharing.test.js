import assert from "node:assert/strict";
import { test } from "node:test";

import { dependence, detachment, offers } from "../../static/js/lib/sharing.js";

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

const own = (...types) => Object.fromEntries(types.map((type) => [type, { inode: 7, initial: false }]));
const hosts = (...types) => Object.fromEntries(types.map((type) => [type, { inode: 1, initial: true }]));

test("a sandbox's files go with its users, and are not shared unasked", () => {
  const files = offers({ name: "web", namespaces: own("pid", "net", "ipc", "uts", "mnt", "user") }).at(-1);
  assert.deepEqual([files.types, files.wanted], [["mnt", "user"], false]);
});

test("beside one with the host's users the files go alone, and it is said why", () => {
  const files = offers({ name: "web", namespaces: { ...own("pid", "mnt"), ...hosts("user") } }).at(-1);
  assert.deepEqual(files.types, ["mnt"]);
  assert.match(files.note, /as nobody.*no_user_namespace/);
});

test("what is the host's own is not offered", () => {
  assert.deepEqual(offers({ name: "web", namespaces: { ...own("ipc"), ...hosts("pid", "net", "mnt") } }).map((one) => one.types), [["ipc"]]);
});
