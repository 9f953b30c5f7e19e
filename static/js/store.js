// The panel's live state in this page: containers and their last numbers, fed by one websocket that heals itself.
// Events: "containers" {changed: [id], removed: [id], reset}, "stats" frame, "activity" event, "job" job, "worker" up, "connection" up.

import { api } from "./api.js";
import { pageData } from "./dom.js";
import { History, everySecond } from "./lib/history.js";
import { groupByInode } from "./lib/sharing.js";

const RETRY_FIRST = 500; // ms; doubles up to RETRY_MOST, so that a restarted web process is not stormed
const RETRY_MOST = 8000;
const GRACE = 1500; // ms without a connection before the reader is told: a restart is mostly shorter
const SAMPLES = 300; // five minutes at one a second
const LOGGED_OUT = 4401;

class Store extends EventTarget {
  containers = new Map();
  stats = new Map(); // id → {cpu, memory, …}
  histories = new Map(); // id → {cpu: History, …}
  host = null;
  loaded = false;
  connected = null;
  #socket = null;
  #retry = RETRY_FIRST;
  #groups = null;
  #awaited = null; // Set of ids: what is still to come of a list that has begun
  #underWay = new Set(); // for each request whose answer will be put: Set of ids that the websocket has told of since
  #topics = new Set(["containers", "stats"]);

  constructor() {
    super();
    const data = pageData();
    for (const container of data.containers ?? (data.container ? [data.container] : [])) this.containers.set(container.id, container);
    this.loaded = Array.isArray(data.containers);
    this.#connect();
    addEventListener("pagehide", () => this.#socket?.close());
    addEventListener("pageshow", (event) => event.persisted && this.#connect());
  }

  want(topic) {
    if (this.#topics.has(topic)) return;
    this.#topics.add(topic);
    this.#subscribe();
  }

  get groups() {
    return (this.#groups ??= groupByInode(this.containers.values()));
  }

  history(id) {
    if (!this.histories.has(id)) this.histories.set(id, {});
    return this.histories.get(id);
  }

  /** Begin this container's history with what the worker remembers; what came live in the meantime follows it. */
  async fill(id) {
    const { columns, items } = await api.get(`/containers/${id}/history?seconds=${SAMPLES}`);
    const history = this.history(id);
    if (!items.length || items[0][0] >= (history.time?.values[0] ?? Infinity)) return; // a new worker knows less than this page
    const live = history.time?.values.filter((time) => time > items.at(-1)[0]).length ?? 0;
    for (const [place, name] of ["time", ...columns].entries()) (history[name] ??= new History(SAMPLES)).begin(everySecond(items, place, SAMPLES), live);
  }

  /**
   * The container that an API call answers with, taken over at once; the websocket says the same a moment later. What the websocket
   * has told since the call began is no older, and stays.
   */
  async put(request) {
    const told = new Set();
    this.#underWay.add(told);
    try {
      const container = await request;
      if (told.has(container.id)) return container;
      this.containers.set(container.id, container);
      this.#changed([container.id], []);
      return container;
    } finally {
      this.#underWay.delete(told);
    }
  }

  drop(id) {
    this.#told([id]);
    if (this.containers.delete(id)) this.#changed([], [id]);
  }

  #told(ids) {
    for (const told of this.#underWay) for (const id of ids) told.add(id);
  }

  #changed(changed, removed, reset = false) {
    this.#groups = null;
    for (const id of removed) {
      this.stats.delete(id);
      this.histories.delete(id);
    }
    this.#emit("containers", { changed, removed, reset });
  }

  #emit(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }

  #connect() {
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws/live/`);
    this.#socket = socket;
    const late = setTimeout(() => this.#setConnected(false), GRACE);
    socket.addEventListener("open", () => this.#subscribe());
    socket.addEventListener("message", ({ data }) => {
      clearTimeout(late);
      const message = JSON.parse(data);
      this.#setConnected(true, message.type === "hello");
      this.#receive(message);
    });
    socket.addEventListener("close", ({ code }) => {
      clearTimeout(late);
      if (this.#socket !== socket) return;
      if (code === LOGGED_OUT) {
        location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
        return;
      }
      const told = setTimeout(() => this.#setConnected(false), GRACE);
      this.addEventListener("connection", () => clearTimeout(told), { once: true });
      setTimeout(() => this.#connect(), this.#retry);
      this.#retry = Math.min(this.#retry * 2, RETRY_MOST);
    });
  }

  /** anew: it was lost in between, too shortly for the reader to be told, and what has happened meanwhile did not come. */
  #setConnected(up, anew = false) {
    if (up && this.#socket?.readyState !== WebSocket.OPEN) return;
    if (!up && this.#socket?.readyState === WebSocket.OPEN && this.connected) return;
    const before = this.connected;
    this.connected = up;
    if (before !== up || anew) this.#emit("connection", up);
  }

  #subscribe() {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify({ type: "subscribe", topics: [...this.#topics] }));
  }

  #receive(message) {
    if (message.type !== "hello") this.#retry = RETRY_FIRST; // a socket that breaks off after its greeting is not tried for ever at once
    if (message.type === "containers") this.#receiveContainers(message);
    else if (message.type === "stats") this.#receiveStats(message);
    else if (message.type === "event") this.#emit("activity", message);
    else if (message.type === "job") this.#emit("job", message.job);
    else if (message.type === "worker") this.#emit("worker", message.up);
  }

  /** A list begins with a reset and the ids of all that there are; those that it does not hold itself follow it. */
  #receiveContainers({ reset, ids, items, removed }) {
    const gone = [...removed];
    const changed = items.map((item) => item.id);
    if (reset) {
      this.#awaited = new Set(ids);
      for (const id of this.containers.keys()) if (!this.#awaited.has(id)) gone.push(id);
    }
    for (const id of gone) this.containers.delete(id);
    for (const item of items) this.containers.set(item.id, item);
    for (const id of [...changed, ...gone]) this.#awaited?.delete(id);
    if (this.#awaited?.size === 0) {
      this.#awaited = null;
      this.loaded = true;
    }
    this.#told([...changed, ...gone]);
    this.#changed(changed, gone, Boolean(reset));
  }

  #receiveStats({ time, host, columns, rows }) {
    if (host) this.host = host;
    for (const [id, row] of Object.entries(rows)) {
      const stats = {};
      const history = this.history(id);
      (history.time ??= new History(SAMPLES)).push(time);
      columns.forEach((name, index) => {
        stats[name] = row[index];
        (history[name] ??= new History(SAMPLES)).push(row[index]);
      });
      this.stats.set(id, stats);
    }
    for (const [id, history] of this.histories) {
      if (id in rows) continue;
      this.stats.delete(id);
      for (const [name, series] of Object.entries(history)) series.push(name === "time" ? time : null);
    }
    this.#emit("stats", { time, rows });
  }
}

export const store = new Store();

/** Listens until the element leaves the page. */
export function listen(signal, type, handler) {
  store.addEventListener(type, ({ detail }) => handler(detail), { signal });
}
