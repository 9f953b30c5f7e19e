// The last N samples of a number, and the line they make.

export class History {
  #values;
  #size;

  constructor(size) {
    this.#values = [];
    this.#size = size;
  }

  push(value) {
    this.#values.push(value);
    if (this.#values.length > this.#size) this.#values.shift();
  }

  /** Put these before those that were pushed after `kept` of them; what does not fit goes. */
  begin(values, kept) {
    this.#values = [...values, ...this.#values.slice(this.#values.length - kept)].slice(-this.#size);
  }

  get values() {
    return this.#values;
  }

  get size() {
    return this.#size;
  }
}

const HELD = 15; // seconds; rows are at most ten apart, and what is unknown for longer is a gap

/**
 * Rows of [time, …], oldest first → one column's value for each second up to the last row's, `size` at most. A row holds for
 * the time since the row before it.
 */
export function everySecond(rows, column, size) {
  if (!rows.length) return [];
  const end = rows.at(-1)[0];
  const length = Math.min(size, Math.round(end - rows[0][0]) + 1);
  const values = new Array(length).fill(null);
  let before = null; // the slot of the row before
  for (const row of rows) {
    const last = length - 1 - Math.round(end - row[0]);
    const first = before === null ? last : Math.max(Math.min(before + 1, last), last - HELD + 1);
    for (let at = Math.max(first, 0); at <= last; at += 1) values[at] = row[column];
    before = last;
  }
  return values;
}

/** Samples → SVG path in a box, newest at the right edge; unknown samples break the line. `top` is the value at the upper edge. */
export function linePath(values, size, width, height, top) {
  const step = width / Math.max(size - 1, 1);
  const start = width - (values.length - 1) * step;
  let path = "";
  let pen = false;
  values.forEach((value, index) => {
    if (value == null) {
      pen = false;
      return;
    }
    const y = height - (Math.min(value, top) / top) * height;
    path += `${pen ? "L" : "M"}${(start + index * step).toFixed(1)} ${y.toFixed(1)}`;
    pen = true;
  });
  return path;
}

/** A round upper edge for a chart whose largest value is `peak`: 1, 2 or 5 times a power of ten. */
export function niceTop(peak, floor) {
  const value = Math.max(peak, floor);
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= value * 0.999);
}
