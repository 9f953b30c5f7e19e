// What takes its time: a card for each job with how far it is, and the way to call it off. Ended ones stay until dismissed, unless they went well.

import { api } from "../api.js";
import { h, setText } from "../dom.js";
import { toast, toastError } from "../feedback.js";
import * as format from "../lib/format.js";
import { jobText } from "../lib/jobs.js";
import { listen, store } from "../store.js";

class JobCard {
  constructor(job, dismissed) {
    this.title = h("b", null);
    this.phase = h("span", { class: "quiet", "data-testid": "job-phase" });
    this.bar = h("i");
    this.track = h("span", { class: "track", role: "progressbar", "aria-valuemin": "0", "aria-valuemax": "100" }, this.bar);
    this.layers = h("ul", { class: "layers small", hidden: true });
    this.hint = h("p", { class: "hint" });
    this.cancel = h("button", { type: "button", class: "tiny", "data-testid": "job-cancel", on: { click: () => this.#cancel() } }, "Cancel");
    this.dismiss = h("button", { type: "button", class: "tiny", on: { click: dismissed } }, "Dismiss");
    this.element = h("article", { class: "panel-box job", "data-testid": "job", dataset: { id: job.id } }, h("div", { class: "row" }, this.title, h("span", { class: "grow" }, this.phase), this.cancel, this.dismiss), this.track, this.layers, this.hint);
    this.update(job);
  }

  update(job) {
    this.job = job;
    const running = job.state === "running";
    this.element.dataset.state = job.state;
    setText(this.title, `${job.kind} ${job.target}`);
    setText(this.phase, jobText(job));
    const share = job.total ? Math.min(job.done / job.total, 1) : null;
    this.track.hidden = !running;
    this.track.classList.toggle("unknown", running && share == null);
    this.bar.style.transform = `scaleX(${share ?? 1})`;
    this.track.setAttribute("aria-label", `${job.kind} ${job.target}`);
    if (share == null) this.track.removeAttribute("aria-valuenow");
    else this.track.setAttribute("aria-valuenow", Math.round(share * 100));
    this.layers.hidden = !running || !job.layers?.length;
    this.layers.replaceChildren(...(job.layers ?? []).map((layer) => h("li", null, h("code", null, layer.id), h("span", { class: "quiet" }, ` ${layer.phase}${layer.total ? ` ${format.bytes(layer.done)} of ${format.bytes(layer.total)}` : ""}`))));
    this.hint.hidden = !job.hint || running;
    setText(this.hint, job.hint ?? "");
    this.cancel.hidden = !running;
    this.dismiss.hidden = running;
  }

  async #cancel() {
    this.cancel.disabled = true;
    try {
      this.update(await api.post(`/jobs/${this.job.id}/cancel`, {}));
    } catch (error) {
      toastError(error);
    }
    this.cancel.disabled = false;
  }
}

/** Fires "finished" with the job when one went well. */
class JobList extends HTMLElement {
  #abort = new AbortController();
  #cards = new Map();

  async connectedCallback() {
    this.classList.add("stack");
    const { signal } = this.#abort;
    store.want("jobs");
    listen(signal, "job", (job) => this.take(job));
    listen(signal, "connection", (up) => up && this.#fill());
    await this.#fill();
  }

  disconnectedCallback() {
    this.#abort.abort();
  }

  async #fill() {
    try {
      const { items } = await api.get("/jobs");
      for (const job of items) if (job.state === "running" || this.#cards.has(job.id)) this.take(job);
    } catch {
      // the banner says that the panel is away
    }
  }

  take(job) {
    const card = this.#cards.get(job.id);
    if (!card && job.state !== "running" && job.finished_at < Date.now() / 1000 - 5) return;
    if (job.state === "done" || job.state === "cancelled") {
      this.#drop(job.id);
      if (job.state === "done" && card) toast(`${job.kind} ${job.target} is done.${job.message ? ` ${job.message}` : ""}`);
      this.dispatchEvent(new CustomEvent("finished", { detail: job }));
    } else if (card) card.update(job);
    else {
      const added = new JobCard(job, () => this.#drop(job.id));
      this.#cards.set(job.id, added);
      this.prepend(added.element);
    }
  }

  #drop(id) {
    this.#cards.get(id)?.element.remove();
    this.#cards.delete(id);
  }
}

customElements.define("job-list", JobList);
