// Items that name their parent, as a tree drawn line by line, the way pstree and findmnt do it.

/** → [{item, depth, branch: "│ ├─ "}] in the items' own order below each parent; whose parent is not among them is a root */
export function treeLines(items, id, parent) {
  const known = new Set(items.map(id));
  const below = new Map();
  for (const item of items) {
    const above = known.has(parent(item)) && parent(item) !== id(item) ? parent(item) : null;
    if (!below.has(above)) below.set(above, []);
    below.get(above).push(item);
  }
  const lines = [];
  const seen = new Set();
  const walk = (list, depth, stem) => list.forEach((item, index) => {
    if (seen.has(id(item))) return;
    seen.add(id(item));
    const last = index === list.length - 1;
    lines.push({ item, depth, branch: depth ? `${stem}${last ? "└─ " : "├─ "}` : "" });
    walk(below.get(id(item)) ?? [], depth + 1, depth ? `${stem}${last ? "   " : "│  "}` : "");
  });
  walk(below.get(null) ?? [], 0, "");
  walk(items, 0, ""); // parents that name each other: nothing is lost
  return lines;
}
