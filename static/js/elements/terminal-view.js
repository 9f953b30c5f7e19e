// A shell in a container. The session lives on the server: leaving and coming back finds it as it was.

import { api } from "../api.js";
import { errorState, h, icon, setText } from "../dom.js";
import { toast, toastError } from "../feedback.js";
import { debounce } from "../lib/timing.js";
import { TerminalSession } from "../terminal_session.js";

const REFIT = 60; // ms after the last change of size
const FONT = { key: "terminal-font", usual: 14, least: 9, most: 28 };
const STORED = (id) => `terminal:${id}`; // sessionStorage: this tab's session of that container

function fontSize() {
  return Number(localStorage.getItem(FONT.key)) || FONT.usual;
}

/** xterm's own style sheet; its hashed address is known to the template only */
function fetchStyle() {
  const href = document.querySelector("[data-xterm-css]").dataset.xtermCss;
  if (document.querySelector(`link[href="${href}"]`)) return Promise.resolve();
  return new Promise((resolve, reject) => document.head.append(h("link", { rel: "stylesheet", href, on: { load: resolve, error: reject } })));
}

class TerminalView extends HTMLElement {
  #session = null;
  #xterm = null;
  #abort = new AbortController();
  #observer = new ResizeObserver(debounce(() => this.#fit(), REFIT));
  #typed = false;

  async open({ id, name, toolbox = false }) {
    this.container = id;
    this.toolbox = toolbox; // a throw-away sandbox beside the container rather than a shell in it: never kept, never shared
    this.dataset.testid = "terminal";
    this.status = h("span", { class: "badge", "data-testid": "terminal-status" }, "connecting");
    this.size = h("span", { class: "faint small" });
    this.screen = h("div", { class: "screen", "data-testid": "terminal-screen" });
    this.end = h("div", { class: "ended", hidden: true, "data-testid": "terminal-ended" });
    const tool = (symbol, label, run) => h("button", { type: "button", class: "tiny square bare", title: label, "aria-label": label, on: { click: run } }, icon(symbol));
    this.find = h("input", { type: "search", class: "find", placeholder: "Search the output", "aria-label": "Search the output", hidden: true, "data-testid": "terminal-search" });
    this.replaceChildren(
      h("header", null, icon("terminal"), h("b", { class: "clip" }, toolbox ? `Tools beside ${name}` : name), toolbox ? this.#imageChoice() : null, this.status, this.size, h("span", { class: "grow" }), this.find,
        tool("search", "Search the output (Ctrl Shift F)", () => this.#toggleFind()),
        h("button", { type: "button", class: "tiny bare", "aria-label": "A− smaller text", on: { click: () => this.#font(-1) } }, "A−"),
        h("button", { type: "button", class: "tiny bare", "aria-label": "A+ larger text", on: { click: () => this.#font(1) } }, "A+"),
        toolbox ? null : tool("popout", "Own window", () => this.#popOut()),
        h("button", { type: "button", class: "tiny", "data-testid": "terminal-new", on: { click: () => this.#restart() } }, toolbox ? "New toolbox" : "New shell")),
      ...(toolbox ? [h("p", { class: "hint toolbox-hint" }, "Its own tools in the container's namespaces; the container's files are at ", h("code", null, "/target"), ". Gone when you leave.")] : []), this.screen, this.end);
    try {
      const [{ openXterm, loadSearch, theme }] = await Promise.all([import("../xterm.js"), fetchStyle()]);
      this.#xterm = openXterm(this.screen, { fontSize: fontSize() });
      Object.assign(this.#xterm, { theme, loadSearch });
    } catch {
      this.screen.replaceChildren(errorState({ message: "The terminal's code could not be fetched.", hint: "Load the page again, or run deploy/up on the host, which fetches xterm.js." }, () => this.open({ id, name, toolbox })));
      return;
    }
    if (!this.isConnected) return;
    this.#wire();
    await this.#start();
  }

  disconnectedCallback() {
    this.#abort.abort();
    this.#observer.disconnect();
    this.#session?.close();
    this.#throwAway();
    this.#xterm?.terminal.dispose();
  }

  #throwAway() {
    if (this.toolbox && this.#session) api.discard(`/terminals/${encodeURIComponent(this.#session.id)}`);
  }

  #imageChoice() {
    this.image = h("input", { class: "image-choice", value: "busybox", "aria-label": "Image of the toolbox", title: "Image of the tools; a raw one", list: "toolbox-images", spellcheck: "false", "data-testid": "toolbox-image", on: { change: () => this.#restart() } });
    const images = h("datalist", { id: "toolbox-images" });
    api.get("/images").then(({ items }) => images.replaceChildren(...items.filter((image) => image.engine === "raw").map((image) => h("option", { value: image.name }))), () => null); // only suggestions
    return [this.image, images];
  }

  #wire() {
    const { terminal } = this.#xterm;
    const { signal } = this.#abort;
    terminal.onData((text) => { this.#typed = true; this.#session?.type(text); });
    terminal.onBinary((text) => this.#session?.typeBinary(text));
    terminal.onResize(({ rows, cols }) => { setText(this.size, `${cols} × ${rows}`); this.#session?.resize(rows, cols); });
    terminal.attachCustomKeyEventHandler((event) => this.#key(event));
    addEventListener("pagehide", () => this.#throwAway(), { signal });
    addEventListener("themechange", () => { terminal.options.theme = this.#xterm.theme(); }, { signal });
    addEventListener("beforeunload", (event) => this.hasAttribute("popped") && this.#typed && !this.#session?.ended && event.preventDefault(), { signal });
    this.find.addEventListener("input", async () => (await this.#search()).findNext(this.find.value, { incremental: true }));
    this.find.addEventListener("keydown", async (event) => {
      if (event.key === "Enter") (await this.#search())[event.shiftKey ? "findPrevious" : "findNext"](this.find.value);
      if (event.key === "Escape") this.#toggleFind();
    });
    this.#observer.observe(this.screen);
    this.#fit();
  }

  #key(event) {
    if (event.type !== "keydown") return true;
    const key = event.key.toLowerCase();
    const both = event.ctrlKey && event.shiftKey;
    if (both && key === "f") this.#toggleFind();
    else if ((both && key === "c") || (event.ctrlKey && event.key === "Insert")) this.#copy();
    else if (both && key === "v") return false; // the browser's own paste reaches xterm
    else return true;
    event.preventDefault();
    return false;
  }

  #copy() {
    const text = this.#xterm.terminal.getSelection();
    if (text && navigator.clipboard) navigator.clipboard.writeText(text);
    else if (text) document.execCommand("copy");
  }

  async #start() {
    this.end.hidden = true;
    this.#say("connecting");
    let session = this.toolbox ? null : sessionStorage.getItem(STORED(this.container));
    const { rows, cols: columns } = this.#xterm.terminal;
    try {
      if (this.toolbox) ({ session } = await api.post(`/containers/${encodeURIComponent(this.container)}/toolbox`, { image: this.image.value.trim() || "busybox", rows, columns }));
      const open = session ? (await api.get("/terminals")).items ?? [] : [];
      if (!open.some((item) => (item.session ?? item.id) === session)) {
        ({ session } = await api.post(`/containers/${encodeURIComponent(this.container)}/terminals`, { argv: [], rows, columns }));
        sessionStorage.setItem(STORED(this.container), session);
      }
    } catch (error) {
      this.#say("closed", "bad");
      this.#ended(error.message, error.hint);
      return;
    }
    if (this.isConnected) this.#attach(session);
    else if (this.toolbox) api.discard(`/terminals/${encodeURIComponent(session)}`);
  }

  #attach(id) {
    const { terminal } = this.#xterm;
    const session = new TerminalSession(id);
    this.#session = session;
    session.addEventListener("open", () => terminal.reset());
    session.addEventListener("ready", () => {
      this.#say("connected", "good");
      this.#fit();
      session.resize(terminal.rows, terminal.cols);
    });
    session.addEventListener("bytes", ({ detail }) => terminal.write(detail, () => session.rendered(detail.length)));
    session.addEventListener("lost", () => this.#say("reconnecting …", "warn"));
    session.addEventListener("exit", ({ detail }) => {
      if (!this.toolbox) sessionStorage.removeItem(STORED(this.container));
      this.#say("ended");
      this.#ended(detail || "The shell has ended.");
    });
    terminal.focus();
  }

  #say(text, tone = "") {
    this.status.className = `badge ${tone}`;
    setText(this.status, text);
  }

  #ended(reason, hint = "") {
    this.end.hidden = false;
    this.end.replaceChildren(h("p", null, reason, hint ? h("span", { class: "quiet" }, ` ${hint}`) : null), h("button", { type: "button", class: "tiny primary", on: { click: () => this.#restart() } }, this.toolbox ? "New toolbox" : "New shell"));
  }

  async #restart() {
    const old = this.toolbox ? this.#session?.id : sessionStorage.getItem(STORED(this.container));
    if (!this.toolbox) sessionStorage.removeItem(STORED(this.container));
    this.#session?.close();
    this.#xterm.terminal.reset();
    if (old) await api.delete(`/terminals/${encodeURIComponent(old)}`).catch((error) => error.status !== 404 && toastError(error));
    await this.#start();
  }

  #fit() {
    if (this.screen.offsetWidth && this.#xterm) this.#xterm.fit.fit();
  }

  #font(step) {
    const size = Math.max(FONT.least, Math.min(FONT.most, fontSize() + step));
    localStorage.setItem(FONT.key, size);
    this.#xterm.terminal.options.fontSize = size;
    this.#fit();
  }

  #search() {
    return (this.#xterm.search ??= this.#xterm.loadSearch(this.#xterm.terminal));
  }

  #toggleFind() {
    this.find.hidden = !this.find.hidden;
    if (this.find.hidden) this.#xterm.terminal.focus();
    else this.find.select();
  }

  #popOut() {
    const opened = open(`${location.pathname}?window=1`, `terminal-${this.container}`, "popup,width=920,height=560");
    if (!opened) toast("The browser did not open a window.", { tone: "bad", hint: "Allow pop-ups for this address." });
  }
}

customElements.define("terminal-view", TerminalView);
