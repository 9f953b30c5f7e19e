// Making and changing elements with little code. Nothing here takes HTML text, so nothing that a container is called can become markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [key, value] of Object.entries(props ?? {})) {
    if (value == null || value === false) continue;
    if (key === "on") for (const [event, handler] of Object.entries(value)) element.addEventListener(event, handler);
    else if (key === "dataset") Object.assign(element.dataset, value);
    else if (key === "props") Object.assign(element, value);
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** h("button", {class: "tiny", on: {click}}, icon("stop"), "Stop") */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** An icon of the sprite in the page; said aloud only when it has a label. */
export function icon(name, label) {
  const said = label ? { role: "img", "aria-label": label } : { "aria-hidden": "true" };
  return svg("svg", { class: "icon", ...said }, svg("use", { href: `#i-${name}` }));
}

/** Writes only what differs, so that a live number neither flickers nor costs a layout. */
export function setText(element, text) {
  const node = element.firstChild;
  if (!node) element.append(text);
  else if (node.nodeValue !== text) node.nodeValue = text;
}

export function setAttribute(element, name, value) {
  if (value == null || value === false) {
    if (element.hasAttribute(name)) element.removeAttribute(name);
  } else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

let pressed = null; // what the pointer is down on
const waiting = new Map(); // place → what comes there when it is up again

// The first button alone: under the menu of another its end may not be told.
document.addEventListener("pointerdown", ({ button, target }) => (pressed = button === 0 ? target : null), true);
for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => setTimeout(released), true); // the click comes first

function released() {
  pressed = null;
  for (const [place, children] of waiting) put(place, children);
}

function put(place, children) {
  waiting.delete(place); // what came later is newer
  const key = place.contains(document.activeElement) ? document.activeElement.dataset.key : "";
  place.replaceChildren(...children);
  if (key) place.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus();
}

/** What is in a place is drawn anew. Not under a pointer that is down, for the click would be lost. The focus stays at its data-key. */
export function exchange(place, children) {
  if (pressed && place.contains(pressed)) waiting.set(place, children);
  else put(place, children);
}

export function pageData() {
  const element = document.getElementById("page-data");
  return element ? JSON.parse(element.textContent) : {};
}

/** {username, staff}: who looks at this page. What only staff may do is not offered to others; the API refuses it anyway. */
export function visitor() {
  return pageData().me ?? { username: "", staff: false };
}

export function emptyState(iconName, title, text, ...actions) {
  return h("div", { class: "empty" }, icon(iconName), h("h2", null, title), h("p", { class: "quiet" }, text), actions.length ? h("div", { class: "row wrap" }, actions) : null);
}

export function errorState(error, retry) {
  return h("div", { class: "banner bad", role: "alert" }, icon("warning"), h("div", { class: "grow" }, h("p", null, error.message), error.hint ? h("p", { class: "hint" }, error.hint) : null),
    retry ? h("button", { type: "button", class: "tiny", on: { click: retry } }, "Try again") : null);
}

/** Grey lines of about the height of what is being fetched, so that nothing moves when it comes. */
export function skeleton(lines = 4) {
  return h("div", { class: "skeleton", role: "status", "aria-busy": "true", "aria-label": "Loading" }, Array.from({ length: lines }, () => h("i")));
}

export function copyButton(text, label = "Copy") {
  const button = h("button", { type: "button", class: "tiny", on: { click: copy } }, icon("copy"), h("span", null, label));
  async function copy() {
    await writeClipboard(text());
    setText(button.lastChild, "Copied");
    setTimeout(() => setText(button.lastChild, label), 1500);
  }
  return button;
}

/** navigator.clipboard exists only on https and localhost; the panel is often reached over plain http on a LAN. */
async function writeClipboard(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = h("textarea", { class: "sr", props: { value: text } });
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
