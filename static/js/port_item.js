// A published port, as a link where a browser can go there.

import { h } from "./dom.js";
import { portLink } from "./lib/container_facts.js";

export function portItem(port) {
  const { text, href } = portLink(port, location.hostname);
  return href ? h("a", { href, target: "_blank", rel: "noreferrer", "data-testid": "port" }, text) : h("code", { "data-testid": "port" }, text);
}
