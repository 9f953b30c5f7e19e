// A job in words.

import { bytes } from "./format.js";

/** "Unpacking, 12 MiB of 30 MiB" */
export function jobText({ state, phase, done, total, message }) {
  if (state !== "running") return state === "failed" ? `failed: ${message}` : state;
  if (total) return `${phase}, ${bytes(done)} of ${bytes(total)}`;
  return done ? `${phase}, ${bytes(done)}` : phase;
}
