import assert from "node:assert/strict";
import { test } from "node:test";

import { changeTo, dialsOf, isAside, limitWords, limitsWords, readingOf, sectionsOf, withChange } from "../../static/js/lib/limits.js";
import { makeScale } from "../../static/js/lib/scale.js";

const row = (name, kind, unit, more = {}) => ({ name, label: name, kind, unit, minimum: 1, maximum: null, help: "", ...more });
const reads = row("io_read_bytes", "disk_size", "bytes/s", { label: "Disk reads" });
const cpu = row("cpu", "share", "cores", { minimum: 0.01, label: "CPU" });

test("a limit that is an object has a dial for each disk or page size, on a range that fits", () => {
  const [one, two] = dialsOf(reads, { parts: ["vda", "vdb"], maximum: null });
  assert.deepEqual([one.part, one.key, one.kind, one.label, two.key], ["vda", "io_read_bytes-vda", "size", "Disk reads, vda", "io_read_bytes-vdb"]);
  assert.deepEqual([one.minimum, one.maximum], [64 * 1024, 10 * 2 ** 30]);
  assert.equal(makeScale(one).log, true);
  const [operations] = dialsOf(row("io_read_ops", "disk_count", "operations/s"), { parts: ["vda"] });
  assert.deepEqual([operations.kind, operations.minimum, operations.maximum], ["count", 10, 1e6]);
});

test("a limit that is one number has one dial, with the host's maximum before the table's", () => {
  assert.equal(dialsOf(cpu, { maximum: 2, parts: [] })[0].maximum, 2);
  assert.equal(dialsOf(row("net_in", "size", "bytes/s", { maximum: 12.5e9 }), {})[0].maximum, 12.5e9);
  assert.deepEqual(dialsOf(reads, { parts: [] }).map((dial) => [dial.key, dial.part]), [["io_read_bytes", ""]]);
});

test("a dial sees its own part, and only what differs has drifted", () => {
  const reading = { requested: { vda: 5 }, kernel: { vda: 5, vdb: 7 }, effective: { vda: 5, vdb: 7 }, unit: "bytes/s", drift: true, locked: "" };
  assert.deepEqual([readingOf(reading, "vda").requested, readingOf(reading, "vda").drift], [5, false]);
  assert.deepEqual([readingOf(reading, "vdb").requested, readingOf(reading, "vdb").kernel, readingOf(reading, "vdb").drift], [null, 7, true]);
  assert.equal(readingOf({ requested: null, kernel: 5, effective: 5, drift: true }, "").drift, true);
  assert.equal(readingOf(undefined, ""), null);
});

test("changes of several disks wait side by side, the last of each counts", () => {
  let changes = {};
  for (const [part, value] of [["vda", 1], ["vdb", 2], ["vda", null]]) changes = withChange(changes, { name: "io_read_bytes", part, value });
  changes = withChange(changes, { name: "cpu", part: "", value: 0.5 });
  assert.deepEqual(changes, { io_read_bytes: { vda: null, vdb: 2 }, cpu: 0.5 });
});

test("what is there and not wanted is cleared", () => {
  assert.deepEqual(changeTo({ vda: 1 }, { vda: 2, vdb: 3 }), { vda: 1, vdb: null });
  assert.equal(changeTo(null, { vda: 2 }), null);
  assert.deepEqual(changeTo({ vda: 1 }, null), { vda: 1 });
  assert.equal(changeTo(50, 30), 50);
});

test("values are said with their unit", () => {
  assert.equal(limitWords({ kind: "size", unit: "bytes/s" }, 4 << 20), "4 MiB/s");
  assert.equal(limitWords({ kind: "count", unit: "operations/s" }, 120), "120/s");
  assert.equal(limitWords({ kind: "size", unit: "bytes" }, null), "no limit");
  assert.equal(limitWords({ kind: "page_size", unit: "bytes" }, { "2M": 64 << 20, "1G": 0 }), "2M 64 MiB, 1G 0 B");
  assert.equal(limitWords({ kind: "cpuset" }, "0-1"), "CPUs 0-1");
  assert.equal(limitWords({ kind: "disk_size", unit: "bytes/s" }, { vda: "2M" }), "vda 2 MiB/s");
  assert.equal(limitsWords([cpu, reads], { cpu: 0.5, io_read_bytes: { vda: 1 << 20 }, pids: 5 }), "CPU 0.50 cores, Disk reads vda 1 MiB/s, pids 5");
});

test("every limit is in a section, known or not", () => {
  const sections = sectionsOf([cpu, reads, row("warp", "count", "")]);
  assert.deepEqual(sections.map(([title, rows]) => [title, rows.map((one) => one.name)]), [["CPU", ["cpu"]], ["Disk", ["io_read_bytes"]], ["Others", ["warp"]]]);
});

test("loop devices stay out of sight, disks don't", () => {
  assert.deepEqual(["loop0", "zram0", "vda", "dm-0", "nvme0n1", "2M", ""].filter((part) => isAside({ part })), ["loop0", "zram0"]);
});
