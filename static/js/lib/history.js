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

  get values() {
    return this.#values;
  }

  get size() {
    return this.#size;
  }
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
