// A default name for a new sandbox: short, sayable, not in use.

const FIRST = ["amber", "brisk", "calm", "dapper", "dusky", "early", "fern", "green", "hazel", "keen", "lively", "mossy", "nimble", "olive", "pale", "quiet", "rapid", "sunny", "tidy", "warm"];
const SECOND = ["beetle", "cricket", "dart", "finch", "frog", "gecko", "ibis", "lizard", "mantis", "newt", "otter", "petal", "pond", "reed", "skink", "snail", "spore", "toad", "wren", "yucca"];

/** taken: Set of names; random: () → [0, 1) */
export function freshName(taken, random = Math.random) {
  const pick = (words) => words[Math.floor(random() * words.length)];
  for (let attempt = 0; attempt < 20; attempt += 1) {
    const name = `${pick(FIRST)}-${pick(SECOND)}`;
    if (!taken.has(name)) return name;
  }
  const base = `${pick(FIRST)}-${pick(SECOND)}`;
  let number = 2;
  while (taken.has(`${base}-${number}`)) number += 1;
  return `${base}-${number}`;
}
