// A slider and a box for one number: the two always say the same, the slider on a scale that fits the range.

import { h } from "./dom.js";
import { limitWords } from "./lib/limits.js";
import { STEPS, makeScale } from "./lib/scale.js";
import { limitText, parseLimit } from "./lib/units.js";

const LARGE_STEP = 50; // of STEPS, for PageUp and PageDown

/** dial: of lib/limits.js. onInput(value) while moving, onChange(value) at the end; null is "no limit", undefined never comes. */
export function rangeBox(dial, { testid, onInput, onChange }) {
  const scale = makeScale(dial);
  const slider = h("input", { type: "range", min: 0, max: STEPS, step: 1, "aria-label": dial.label, "data-testid": testid });
  const box = h("input", { type: "text", inputmode: dial.kind === "size" ? "text" : "decimal", "aria-label": `${dial.label}, as a number`, placeholder: "no limit", spellcheck: "false", autocomplete: "off", "data-testid": `${testid}-number` });
  let current = null;
  let sent = null; // text that was taken already: Enter and then leaving the box is one change

  function show(value) {
    current = value;
    const position = value == null ? STEPS : scale.toPosition(value);
    if (Number(slider.value) !== position) slider.value = position;
    slider.classList.toggle("unset", value == null);
    slider.setAttribute("aria-valuetext", limitWords(dial, value));
    if (document.activeElement !== box) box.value = limitText(dial, value);
    box.removeAttribute("aria-invalid");
  }
  function moved(value) {
    current = value;
    slider.classList.remove("unset");
    slider.setAttribute("aria-valuetext", limitWords(dial, value));
    box.value = limitText(dial, value);
    onInput?.(value);
  }
  function typed() {
    if (box.value === sent) return;
    sent = box.value;
    const value = parseLimit(dial, box.value);
    if (value === undefined) {
      box.setAttribute("aria-invalid", "true");
      return;
    }
    box.removeAttribute("aria-invalid");
    if (value === current) return;
    current = value;
    slider.value = value == null ? STEPS : scale.toPosition(value);
    onInput?.(value);
    onChange?.(value);
  }
  function step(direction, size) {
    let position = Number(slider.value);
    const before = scale.toValue(position);
    do position += direction * size;
    while (position > 0 && position < STEPS && scale.toValue(position) === before);
    slider.value = position;
    moved(scale.toValue(Number(slider.value)));
    onChange?.(current);
  }

  slider.addEventListener("input", () => moved(scale.toValue(Number(slider.value))));
  slider.addEventListener("change", () => onChange?.(current));
  slider.addEventListener("keydown", (event) => {
    const direction = { ArrowRight: 1, ArrowUp: 1, PageUp: 1, ArrowLeft: -1, ArrowDown: -1, PageDown: -1 }[event.key];
    if (!direction) return;
    event.preventDefault();
    step(direction, event.key.startsWith("Page") ? LARGE_STEP : 1);
  });
  box.addEventListener("input", () => { sent = null; });
  box.addEventListener("change", typed);
  box.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    typed();
  });
  return { slider, box, scale, show, get value() { return current; } };
}
