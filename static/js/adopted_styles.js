// xterm.js writes style elements and style attributes, which a strict Content-Security-Policy forbids. Here both are made
// by way of the CSSOM instead, which it allows. (xterm's option `documentOverride` does not reach all of its parts.)

class AdoptedStyle extends HTMLElement {
  #sheet = new CSSStyleSheet();

  connectedCallback() {
    this.hidden = true;
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.#sheet];
  }

  disconnectedCallback() {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== this.#sheet);
  }

  set textContent(css) {
    this.#sheet.replaceSync(css);
  }
}

customElements.define("adopted-style", AdoptedStyle);

// Colours of single cells are style attributes of spans. For every other span this comes to the same.
HTMLSpanElement.prototype.setAttribute = function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
};

/** While `run` runs, a style element that is made adopts its sheet instead of being parsed. */
export function withAdoptedStyles(run) {
  const createElement = Document.prototype.createElement;
  document.createElement = (name, options) => createElement.call(document, name === "style" ? "adopted-style" : name, options);
  try {
    run();
  } finally {
    delete document.createElement; // the prototype's own is there again
  }
}
