// Tidying up a Docker daemon: first what would go and how much that frees, then, if wanted, it goes.

import { api } from "./api.js";
import { h } from "./dom.js";
import { ask, toast, toastError } from "./feedback.js";
import * as format from "./lib/format.js";

const SHOWN = 200; // lines of the preview

/** kind: "images" or "volumes". words: {one, what}, what goes and which. → true when something went */
export async function prune(kind, engine, { one, what }) {
  try {
    const found = await api.post(`/${kind}/prune`, { engine, preview: true });
    const count = format.plural(found.items.length, one);
    if (!found.items.length) {
      toast(`Nothing to tidy up at ${engine}: there is no ${one} ${what}.`, { tone: "info" });
      return false;
    }
    const list = h("ul", null, found.items.slice(0, SHOWN).map((name) => h("li", null, name.replace(/^sha256:(.{12}).*/, "$1"))));
    const shown = h("div", { class: "code prunable", tabindex: "0", role: "region", "aria-label": "What would go", "data-testid": "prune-list" }, list);
    const rest = found.items.length - SHOWN;
    const details = [h("p", { "data-testid": "prune-sum" }, `${count} ${what}: ${format.bytes(found.bytes)}. There is no way back.`), shown, rest > 0 ? h("p", { class: "quiet" }, `and ${rest} more`) : null];
    if (!(await ask(`Remove ${count} of ${engine}?`, details, "Remove"))) return false;
    const gone = await api.post(`/${kind}/prune`, { engine, preview: false });
    toast(`${format.plural(gone.items.length, one)} removed, ${format.bytes(gone.bytes)} freed.`);
    return gone.items.length > 0;
  } catch (error) {
    toastError(error);
    return false;
  }
}

/** One button for each daemon that answers. */
export function pruneButtons(engines, act) {
  const daemons = engines.filter((engine) => engine.name !== "raw" && engine.available);
  return daemons.map(({ name }) => h("button", { type: "button", "data-testid": `prune-${name}`, on: { click: () => act(name) } }, daemons.length > 1 ? `Tidy up ${name} …` : "Tidy up Docker …"));
}
