// The wire of one terminal: bytes both ways, sizes and acknowledgements as JSON, and coming back after a cut.
// Events: "open" (the replay follows, so the screen begins anew), "bytes" Uint8Array, "ready", "lost", "exit" reason.

const RETRY_FIRST = 400; // ms; doubles up to RETRY_MOST
const RETRY_MOST = 5000;
const ACK_EVERY = 32 * 1024; // bytes; an eighth of what the server sends before it waits

export class TerminalSession extends EventTarget {
  #socket = null;
  #retry = RETRY_FIRST;
  #timer = 0;
  #ended = false;
  #acked = 0;
  #rendered = 0;
  #encoder = new TextEncoder();

  constructor(id) {
    super();
    this.id = id;
    this.#connect();
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/terminal/${encodeURIComponent(this.id)}/`);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#rendered = 0;
    this.#acked = 0;
    socket.addEventListener("open", () => this.#emit("open"));
    socket.addEventListener("message", ({ data }) => {
      if (this.#socket !== socket) return;
      if (typeof data === "string") this.#control(JSON.parse(data));
      else this.#emit("bytes", new Uint8Array(data));
    });
    socket.addEventListener("close", ({ code, reason }) => {
      if (this.#socket !== socket || this.#ended) return;
      if (code >= 4400 && code < 4500) {
        this.#end(reason || (code === 4401 ? "You are logged out." : "The session has ended."));
        return;
      }
      this.#emit("lost");
      this.#timer = setTimeout(() => this.#connect(), this.#retry);
      this.#retry = Math.min(this.#retry * 2, RETRY_MOST);
    });
  }

  #control(message) {
    if (message.type === "ready") {
      this.#retry = RETRY_FIRST;
      this.#emit("ready", message);
    } else if (message.type === "exit") this.#end(message.reason);
  }

  #end(reason) {
    this.#ended = true;
    this.#emit("exit", reason);
    this.#socket?.close();
  }

  #send(data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(data);
  }

  type(text) {
    this.#send(this.#encoder.encode(text));
  }

  /** xterm's onBinary: one character is one byte */
  typeBinary(text) {
    this.#send(Uint8Array.from(text, (char) => char.charCodeAt(0)));
  }

  resize(rows, columns) {
    this.#send(JSON.stringify({ type: "resize", rows, columns }));
  }

  /** called when that many more bytes are on the screen */
  rendered(bytes) {
    this.#rendered += bytes;
    if (this.#rendered - this.#acked < ACK_EVERY) return;
    this.#acked = this.#rendered;
    this.#send(JSON.stringify({ type: "ack", bytes: this.#rendered }));
  }

  get ended() {
    return this.#ended;
  }

  close() {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#socket?.close();
  }
}
