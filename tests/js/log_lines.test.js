import assert from "node:assert/strict";
import { test } from "node:test";

import { LogLines, MOST_FOUND, MOST_LINES, MOST_TEXT, findAll, parseSince } from "../../static/js/lib/log_lines.js";

test("what is added in pieces is one text", () => {
  const lines = new LogLines();
  lines.add("one\ntw");
  lines.add("o\n");
  assert.equal(lines.text, "one\ntwo\n");
  assert.equal(lines.dropped, false);
});

test("the oldest lines go first, whole", () => {
  const lines = new LogLines();
  for (let i = 0; i < MOST_LINES + 10; i += 1) lines.add(`${i}\n`);
  assert.equal(lines.text.split("\n").length - 1, MOST_LINES);
  assert.ok(lines.text.startsWith("10\n"));
  assert.ok(lines.dropped);
});

test("one endless line is bounded too", () => {
  const lines = new LogLines();
  for (let i = 0; i < 5; i += 1) lines.add("x".repeat(MOST_TEXT / 2));
  assert.ok(lines.text.length <= MOST_TEXT);
  lines.add("\nend\n");
  assert.ok(lines.text.endsWith("\nend\n") && lines.text.length <= MOST_TEXT);
});

test("finding is blind to case and bounded", () => {
  assert.deepEqual(findAll("Error, error", "error"), [0, 7]);
  assert.deepEqual(findAll("none", ""), []);
  assert.equal(findAll("a".repeat(MOST_FOUND + 5), "a").length, MOST_FOUND);
});

test("since is a time ago, or a date", () => {
  assert.equal(parseSince("", 1000), 0);
  assert.equal(parseSince("15 min", 10000), 10000 - 900);
  assert.equal(parseSince("2h", 10000), 10000 - 7200);
  assert.equal(parseSince("2026-01-31T12:00:00Z"), Date.parse("2026-01-31T12:00:00Z") / 1000);
  assert.ok(Number.isNaN(parseSince("soon")));
});
