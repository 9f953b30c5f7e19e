// Who shares which namespace, worked out from the containers' own inodes.

export const NAMESPACE_TYPES = ["mnt", "uts", "ipc", "pid", "net", "user", "cgroup", "time"];
export const NAMESPACE_LABELS = {
  mnt: "Mount", uts: "Host name (UTS)", ipc: "IPC", pid: "Process ids", net: "Network", user: "User", cgroup: "Cgroup", time: "Time",
};

const NEIGHBOURLY = [["pid", "its processes"], ["net", "its network"], ["ipc", "its IPC"], ["uts", "its host name"]];

/** What a new sandbox can share with this one → [{types, text, wanted, note}]. ``types`` go together; what is the host's own is left out. */
export function offers({ namespaces = {}, name }) {
  const own = (type) => namespaces[type] && !namespaces[type].initial;
  const list = NEIGHBOURLY.filter(([type]) => own(type)).map(([type, text]) => ({ types: [type], text, wanted: true, note: "" }));
  if (!own("mnt")) return list;
  const [types, note] = own("user") ? [["mnt", "user"], `With its users, so that its files belong to the same ones. The image is not used, and what ${name} has mounted is there.`]
    : [["mnt"], `${name} has the host's users, and this sandbox has its own: it sees these files as nobody, and writes none. To own them it would have to take the user namespace too, which the host lends only where root sets no_user_namespace in policy.toml.`];
  return [...list, { types, text: `its files too (${types.join(" + ")})`, wanted: false, note }];
}

/** containers → Map "net:4026532201" → [container, …] of the living ones; the host's own namespaces left out */
export function groupByInode(containers) {
  const groups = new Map();
  for (const container of containers) {
    for (const [type, view] of Object.entries(container.namespaces ?? {})) {
      if (!view.inode || view.initial) continue;
      const key = `${type}:${view.inode}`;
      if (!groups.has(key)) groups.set(key, []);
      groups.get(key).push(container);
    }
  }
  return groups;
}

/** → [{type, kind: "private" | "shared" | "host" | "unknown", inode, others: [names]}] in the fixed order of types */
export function isolationOf(container, groups) {
  return NAMESPACE_TYPES.map((type) => {
    const view = container.namespaces?.[type];
    if (!view) return { type, kind: "unknown", inode: 0, others: [] };
    if (view.initial || (!view.inode && view.mode === "host")) return { type, kind: "host", inode: view.inode, others: [] };
    const others = (groups.get(`${type}:${view.inode}`) ?? []).filter((other) => other.id !== container.id).map((other) => other.name);
    const shared = others.length > 0 || /^(container|path):/.test(view.mode);
    return { type, kind: shared ? "shared" : "private", inode: view.inode, others };
  });
}

/** What becomes of a container that has joined namespaces of these types, when their maker ends or starts anew. */
export function dependence(types) {
  if (types.includes("pid")) return "ends with it, because it shares its process ids";
  return `keeps the ${types.join(", ")} namespace of now, and must be restarted to join the next`;
}

/** → "" where it is in the namespace that it asked for, or asked for none; else what is wrong, in words */
export function detachment(container, type, containers) {
  const view = container.namespaces?.[type];
  if (!view?.inode || !view.mode.startsWith("container:")) return "";
  const wanted = view.mode.slice("container:".length);
  const provider = containers.find((other) => other.id === wanted || other.name === wanted);
  if (!provider) return "of a container that is gone";
  const now = provider.namespaces?.[type]?.inode;
  if (!now) return `of an earlier run of ${provider.name}, which has ended`;
  return now === view.inode ? "" : `detached from ${provider.name}; restart this one to join again`;
}

/** "3 of 8 are the host's: time, user, net" and the like, for tooltips and screen readers */
export function isolationText(parts) {
  const of = (kind) => parts.filter((part) => part.kind === kind);
  const text = [];
  if (of("private").length) text.push(`private: ${of("private").map((part) => part.type).join(", ")}`);
  for (const part of of("shared")) text.push(part.others.length ? `${part.type} shared with ${part.others.slice(0, 3).join(", ")}` : `${part.type} shared`);
  if (of("host").length) text.push(`the host's: ${of("host").map((part) => part.type).join(", ")}`);
  return text.join("; ");
}
