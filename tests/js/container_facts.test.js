import assert from "node:assert/strict";
import { test } from "node:test";

import { isolationWarnings, marksOf, networkNote, portLink, restartText } from "../../static/js/lib/container_facts.js";

test("a published port leads where the reader came from, or to its own address", () => {
  const port = { container_port: 80, host_port: 8080, host_ip: "", protocol: "tcp" };
  assert.deepEqual(portLink(port, "panel.test"), { text: "8080 → 80/tcp", href: "http://panel.test:8080/" });
  assert.equal(portLink({ ...port, host_ip: "::1" }, "panel.test").href, "http://[::1]:8080/");
  assert.equal(portLink({ ...port, protocol: "udp" }, "panel.test").href, "");
});

test("a restart that is due is told, else how often there was one", () => {
  assert.equal(restartText({ state: "exited", reason: "exited 1; restarting after 0.8 s, attempt 4" }), "restarting after 0.8 s, attempt 4");
  assert.equal(restartText({ state: "running", reason: "", restart_count: 2 }), "restarted 2 times");
  assert.equal(restartText({ state: "running", reason: "", restart_count: 0 }), "");
});

test("marks are for what differs from usual only", () => {
  assert.deepEqual(marksOf({ state: "running" }), []);
  const kinds = marksOf({ state: "unknown", engine: "docker", stale: true, health: "unhealthy", restart_count: 1 }).map((mark) => mark.kind);
  assert.deepEqual(kinds, ["stale", "health-unhealthy", "restarts"]);
});

test("weak isolation is named for either engine", () => {
  assert.equal(isolationWarnings({ asked: { privileged: true } }).level, "weak");
  assert.deepEqual(isolationWarnings({ isolation: "full", warnings: [], asked: {} }), { level: "full", warnings: [] });
});

test("whose network it is", () => {
  assert.equal(networkNote({ kind: "shared", others: ["db"] }), "shared with db");
  assert.equal(networkNote({ kind: "private", others: [] }), "");
});
