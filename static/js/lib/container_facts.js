// What a container's fields say in words, and what is worth a mark in the list.

export const living = (container) => container.state === "running" || container.state === "paused";

/** {host_ip, host_port, container_port, protocol} → {text, href}; href "" where no browser can go */
export function portLink(port, here) {
  const anywhere = ["", "0.0.0.0", "::"].includes(port.host_ip);
  const address = anywhere ? here : port.host_ip.includes(":") ? `[${port.host_ip}]` : port.host_ip;
  const text = `${anywhere ? "" : `${address}:`}${port.host_port} → ${port.container_port}/${port.protocol}`;
  return { text, href: port.protocol === "tcp" && port.host_port ? `http://${address}:${port.host_port}/` : "" };
}

/** What its restart policy is about to do, or has given up; "" when there is nothing to say */
export function restartText(container) {
  const told = /(?:restarting after|given up after|Docker will start it again).*/.exec(container.reason ?? "");
  if (told && container.state === "exited") return told[0];
  return container.restart_count ? `restarted ${container.restart_count === 1 ? "once" : `${container.restart_count} times`}` : "";
}

/** → [{kind, icon, text}]: discreet marks behind the name in the list */
export function marksOf(container) {
  const marks = [];
  if (container.stale) marks.push({ kind: "stale", icon: "warning", text: `${container.engine} does not answer: this is as last seen` });
  if (container.health) marks.push({ kind: `health-${container.health}`, icon: "", text: `health: ${container.health}` });
  const restarts = restartText(container);
  if (restarts) marks.push({ kind: "restarts", icon: "restart", text: restarts });
  return marks;
}

/** What /security says → {level: "weak" | "shared" | "full" | "", warnings} */
export function isolationWarnings(facts) {
  if (facts.asked?.privileged) return { level: "weak", warnings: ["It is privileged: its root can do on the host whatever root can."] };
  return { level: facts.isolation ?? "", warnings: facts.warnings ?? [] };
}

/** "shared with db", "the host's": whose network the numbers are; "" when it is its own */
export function networkNote(part) {
  if (part.kind === "host") return "the host's";
  return part.kind === "shared" ? `shared${part.others.length ? ` with ${part.others.join(", ")}` : ""}` : "";
}
