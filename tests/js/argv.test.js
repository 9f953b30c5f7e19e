import assert from "node:assert/strict";
import { test } from "node:test";

import { joinCommand, splitCommand } from "../../static/js/lib/argv.js";

test("words are split as a shell splits them", () => {
  assert.deepEqual(splitCommand(`sh -c "sleep 5; echo 'x'"`), ["sh", "-c", "sleep 5; echo 'x'"]);
  assert.deepEqual(splitCommand(String.raw`a\ b '' "c\"d"`), ["a b", "", 'c"d']);
  assert.deepEqual(splitCommand("   "), []);
});

test("joining and splitting come back to the same words", () => {
  for (const argv of [["sleep", "1000"], ["sh", "-c", "echo \"it's\" $HOME"], ["", "a b"]]) assert.deepEqual(splitCommand(joinCommand(argv)), argv);
});
