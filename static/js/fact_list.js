// A list of names and values in which only what changed is drawn again, so that a control in it keeps the focus.

import { h } from "./dom.js";

export class FactList {
  #rows = new Map(); // name → {key, name, value}

  constructor(testid) {
    this.element = h("dl", { class: "facts", "data-testid": testid });
  }

  /** facts: [[name, key, value]]; a key of null leaves the row out; value is a node, text or a function that makes one */
  draw(facts) {
    const wanted = facts.filter(([, key]) => key != null);
    const names = new Set(wanted.map(([name]) => name));
    for (const [name, row] of this.#rows) {
      if (names.has(name)) continue;
      row.name.remove();
      row.value.remove();
      this.#rows.delete(name);
    }
    let place = this.element.firstChild;
    for (const [name, key, value] of wanted) {
      const row = this.#rows.get(name) ?? { name: h("dt", null, name), value: h("dd"), key: null };
      this.#rows.set(name, row);
      if (row.name === place) place = row.value.nextSibling;
      else this.element.insertBefore(row.value, this.element.insertBefore(row.name, place).nextSibling);
      if (row.key === key) continue;
      row.key = key;
      row.value.replaceChildren(typeof value === "function" ? value() : value);
    }
  }
}
