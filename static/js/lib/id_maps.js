// User ids of the host that a new sandbox may have.

/** "0 1000000 65536, 70000 2000000 1" → [{first, count}] on the host */
function rangesOf(userMap) {
  return userMap.split(", ").filter(Boolean).map((line) => line.split(" ").map(Number)).map(([, first, count]) => ({ first, count }));
}

/** The highest id of the sandboxes' range that none of these user maps has; null when there is none. Ranges are given out from below. */
export function freeId({ base, count }, userMaps) {
  const taken = userMaps.flatMap(rangesOf).sort((one, other) => other.first - one.first);
  let id = base + count - 1;
  for (const range of taken) if (id >= range.first && id < range.first + range.count) id = range.first - 1;
  return id >= base && count > 0 ? id : null;
}
