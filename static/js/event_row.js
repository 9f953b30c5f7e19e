// One line of a table of events.

import { h } from "./dom.js";
import * as format from "./lib/format.js";

export function eventRow(event, { withName = true } = {}) {
  return h("tr", { "data-testid": "event" }, h("td", { class: "mono quiet nowrap", title: format.dateTime(event.time) }, format.clock(event.time)),
    withName ? h("td", null, h("a", { href: `/containers/${encodeURIComponent(event.container)}/` }, event.name || format.shortId(event.container))) : null,
    withName ? h("td", null, h("span", { class: "badge", "data-engine": event.engine }, event.engine)) : null,
    h("td", null, h("span", { class: `badge ${{ oom: "bad", killed: "warn", created: "good", started: "good" }[event.action] ?? ""}` }, event.action)), h("td", { class: "quiet" }, event.detail));
}
