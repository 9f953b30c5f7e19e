// xterm.js writes style elements and style attributes, which the panel's Content-Security-Policy forbids. This document,
// given to it as `documentOverride`, makes both by way of the CSSOM instead, which the policy allows.

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

function setAttribute(name, value) {
  if (name === "style") this.style.cssText = value;
  else Element.prototype.setAttribute.call(this, name, value);
}

function createElement(name, options) {
  if (name === "style") return document.createElement("adopted-style");
  const element = document.createElement(name, options);
  if (name === "span") element.setAttribute = setAttribute;
  return element;
}

export const cspDocument = new Proxy(document, {
  get(target, key) {
    if (key === "createElement") return createElement;
    const value = target[key];
    return typeof value === "function" ? value.bind(target) : value;
  },
  set(target, key, value) {
    target[key] = value;
    return true;
  },
});
