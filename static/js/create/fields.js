// Pieces of the form: a labelled control, and lists of rows that grow and shrink.

import { h, icon } from "../dom.js";

export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", null, label), control, hint ? h("span", { class: "hint" }, hint) : null);
}

export function input(name, placeholder = "", props = {}) {
  return h("input", { name, placeholder, spellcheck: "false", autocomplete: "off", ...props });
}

export function select(name, options, props = {}) {
  return h("select", { name, ...props }, options.map(([value, text]) => h("option", { value }, text)));
}

export function check(name, text, checked = false) {
  const box = h("input", { type: "checkbox", name, props: { checked } });
  return { box, element: h("label", { class: "row wide" }, box, text) };
}

/** "8080" → 8080; what is no number goes as it was typed: the API says what is wrong with it. */
export function number(text) {
  const value = Number(text);
  return text.trim() && Number.isNaN(value) ? text.trim() : value;
}

/** columns: [{name, label, make(): control}]; fit(row), when a row is new or changed. rows.values() → [{name: text or checked}] of lines in which something is written; rows.show([…]) fills them in. */
export function rowList({ title, add, columns, touched, testid, fit = () => {} }) {
  const list = h("div", { class: "row-list" });
  function append(values = {}) {
    const controls = columns.map(({ name, label, make }) => {
      const control = make();
      control.dataset.column = name;
      control.setAttribute("aria-label", label);
      control.title = label;
      if (values[name] != null) control[control.type === "checkbox" ? "checked" : "value"] = values[name];
      return control.type === "checkbox" ? h("label", { class: "row small" }, control, label) : control;
    });
    const row = h("div", { class: "row wrap", "data-testid": `${testid}-row` }, controls, h("button", { type: "button", class: "tiny square bare", "aria-label": `Remove this line of ${title}`, on: { click: () => { row.remove(); touched(); } } }, icon("close")));
    row.addEventListener("change", () => fit(row));
    fit(row);
    list.append(row);
    return row;
  }
  const button = h("button", { type: "button", class: "tiny", "data-testid": `${testid}-add`, on: { click: () => { append().querySelector("input, select").focus(); touched(); } } }, icon("plus"), add);
  return {
    element: h("div", { class: "field wide", role: "group", "aria-label": title }, h("span", { class: "label" }, title), list, h("div", null, button)),
    values: () => [...list.children].filter((row) => [...row.querySelectorAll("input[data-column]:not([type=checkbox], [hidden])")].some((control) => control.value.trim())).map((row) => Object.fromEntries([...row.querySelectorAll("[data-column]")].map((control) => [control.dataset.column, control.type === "checkbox" ? control.checked : control.value.trim()]))),
    show: (rows) => { list.replaceChildren(); for (const row of rows) append(row); },
  };
}
