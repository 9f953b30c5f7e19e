// How a container's state is shown wherever it stands: its dot, how it ended, and that its limits were changed outside.

import { h, icon, setAttribute } from "./dom.js";
import * as format from "./lib/format.js";

export function dotState(container) {
  return container.state === "exited" && container.exit_code ? "failed" : container.state;
}

export function ending(container, now = Date.now() / 1000) {
  if (container.state === "created") return "not started yet";
  if (container.state === "unknown") return container.reason || "its state is not known";
  const code = container.exit_code == null ? "" : ` ${container.exit_code}`;
  const told = container.reason?.startsWith(`exited${code}`) ? container.reason.slice(`exited${code}`.length) : container.reason ? ` · ${container.reason}` : "";
  return `exited${code}${told}${container.finished_at ? ` · ${format.ago(container.finished_at, now)}` : ""}`;
}

/** A small sign that somebody else has changed its limits; showDrift() says which. */
export function driftMark(tag = "span") {
  return h(tag, { class: "drift-mark", hidden: true, "data-testid": "drift" }, icon("sliders", "Limits changed outside"));
}

export function showDrift(mark, container) {
  const names = Object.entries(container.limits ?? {}).filter(([, reading]) => reading.drift).map(([name]) => name);
  mark.hidden = !names.length;
  if (mark.hidden) return;
  const text = `Limits changed outside: ${names.join(", ").replaceAll("_", " ")}`;
  setAttribute(mark, "title", text);
  setAttribute(mark.firstChild, "aria-label", text);
}
