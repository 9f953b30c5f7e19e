// Lays the graph of containers and namespaces out like a map of lines: a row for each container, a column for each
// namespace type. A namespace stands in the row of the first container that has it; the others reach it over a lane,
// a vertical line in that column. Lanes whose rows overlap lie side by side.

import { NAMESPACE_TYPES } from "./sharing.js";

export const SIZE = { left: 168, column: 108, node: 97, row: 34, height: 24, top: 6, lane: 6, gap: 14 };

function related(containers, targets) {
  // Containers that share a namespace stand together: union by inode, then by name.
  const parent = new Map(containers.map((node) => [node.id, node.id]));
  const find = (id) => (parent.get(id) === id ? id : find(parent.get(id)));
  const first = new Map();
  for (const node of containers) {
    for (const target of targets.get(node.id).values()) {
      if (target.initial) continue;
      if (first.has(target.id)) parent.set(find(node.id), find(first.get(target.id)));
      else first.set(target.id, node.id);
    }
  }
  const groups = new Map();
  for (const node of containers) {
    const root = find(node.id);
    groups.set(root, [...(groups.get(root) ?? []), node]);
  }
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  return [...groups.values()].map((group) => group.sort(byName)).sort((a, b) => byName(a[0], b[0])).flat();
}

function laneOf(lanes, top, bottom) {
  let index = lanes.findIndex((end) => end < top);
  if (index < 0) index = lanes.length;
  lanes[index] = bottom;
  return index;
}

/**
 * graph: {nodes, edges} as the API sends them. options: {showInitial, showOthers, matches(containerNode)}
 * → {width, height, columns: [{type, x}], rows: [{node, y, stops: [x]}], nodes: [{node, type, x, y, members, kind}],
 *    lanes: [{id, type, path}], hidden: number of containers filtered out}
 */
export function layout(graph, { showInitial = true, showOthers = false, matches = () => true } = {}) {
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  const targets = new Map();
  for (const edge of graph.edges) {
    const node = byId.get(edge.target);
    if (!node) continue;
    if (!targets.has(edge.source)) targets.set(edge.source, new Map());
    targets.get(edge.source).set(node.type, node);
  }
  const all = graph.nodes.filter((node) => node.kind === "container");
  for (const node of all) if (!targets.has(node.id)) targets.set(node.id, new Map());
  const containers = related(all.filter(matches), targets);
  const columns = NAMESPACE_TYPES.map((type, index) => ({ type, x: SIZE.left + index * SIZE.column + SIZE.column / 2 }));
  const columnOf = new Map(columns.map((column) => [column.type, column.x]));

  const members = new Map(); // namespace id → rows that have it
  const rows = [];
  const used = new Set();
  const host = graph.nodes.find((node) => node.kind === "host") ?? { id: "host", kind: "host", name: "host" };
  const initial = graph.nodes.filter((node) => node.kind === "namespace" && node.initial);
  if (showInitial) rows.push({ node: host, targets: new Map(initial.map((node) => [node.type, node])) });
  for (const node of containers) rows.push({ node, targets: targets.get(node.id) });
  for (const row of rows) for (const target of row.targets.values()) used.add(target.id);
  if (showOthers) {
    const rest = graph.nodes.filter((node) => node.kind === "namespace" && !node.initial && !graph.edges.some((edge) => edge.target === node.id));
    const lists = NAMESPACE_TYPES.map((type) => rest.filter((node) => node.type === type));
    const depth = Math.max(0, ...lists.map((list) => list.length));
    for (let index = 0; index < depth; index += 1) {
      const present = lists.map((list) => list[index]).filter(Boolean);
      rows.push({ node: { id: `other:${index}`, kind: "other", name: index ? "" : "other processes" }, targets: new Map(present.map((node) => [node.type, node])) });
    }
  }

  rows.forEach((row, index) => {
    row.index = index;
    row.y = SIZE.top + index * SIZE.row + SIZE.row / 2 + (showInitial && index > 0 ? SIZE.gap : 0);
    for (const target of row.targets.values()) {
      if (!showInitial && target.initial) continue;
      if (!members.has(target.id)) members.set(target.id, []);
      members.get(target.id).push(row);
    }
  });

  const nodes = [];
  const lanes = [];
  const taken = new Map(columns.map((column) => [column.type, []]));
  for (const row of rows) {
    row.stops = [];
    for (const [type, target] of row.targets) {
      if (!members.has(target.id)) continue;
      const sharers = members.get(target.id);
      const x = columnOf.get(type);
      if (sharers[0] === row) {
        const kind = target.initial ? "initial" : sharers.length > 1 ? "shared" : "private";
        nodes.push({ node: target, type, x, y: row.y, kind, row, members: sharers.map((other) => other.node) });
        row.stops.push(x);
        if (sharers.length > 1) {
          const last = sharers[sharers.length - 1];
          const lane = laneOf(taken.get(type), row.index, last.index);
          const laneX = x - SIZE.node / 2 - 4 - lane * SIZE.lane;
          const start = row.y;
          lanes.push({ id: target.id, type, x: laneX, y1: start, y2: last.y, nodeX: x - SIZE.node / 2, dots: sharers.slice(1).map((other) => ({ row: other.node.id, y: other.y })), initial: target.initial });
          for (const other of sharers.slice(1)) (other.reach ??= []).push(laneX);
        }
      }
    }
  }
  for (const row of rows) row.end = Math.max(SIZE.left - 16, ...row.stops.map((x) => x - SIZE.node / 2), ...(row.reach ?? []));
  return {
    width: SIZE.left + columns.length * SIZE.column + 8,
    height: SIZE.top + rows.length * SIZE.row + SIZE.gap + 8,
    columns, rows, nodes, lanes,
    hidden: all.length - containers.length,
  };
}
