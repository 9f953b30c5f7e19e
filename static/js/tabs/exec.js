// The tab "Exec": one program to its end, in all of the container's namespaces or in some of them, as nsenter does.

import { api } from "../api.js";
import { copyButton, errorState, h, visitor } from "../dom.js";
import { joinCommand, splitCommand } from "../lib/argv.js";
import { NAMESPACE_TYPES } from "../lib/sharing.js";
import { store } from "../store.js";
import { box, path } from "./parts.js";

const KEPT = 20; // answers on the page
const LETTERS = { mnt: "-m", uts: "-u", ipc: "-i", pid: "-p", net: "-n", user: "-U", cgroup: "-C", time: "-T" }; // nsenter(1)

/** (["net", "uts"], ["ip", "a"]) → "nsenter -n -u ip a" */
const shown = (kinds, argv) => (kinds.length ? `nsenter ${kinds.map((kind) => LETTERS[kind]).join(" ")} ${joinCommand(argv)}` : joinCommand(argv));

function stream(name, text) {
  return text ? h("div", { class: "stack" }, h("div", { class: "row" }, h("span", { class: "label grow" }, name), copyButton(() => text)), h("pre", { class: "code", tabindex: "0", role: "region", "aria-label": name, "data-testid": `exec-${name === "Output" ? "stdout" : "stderr"}` }, text)) : null;
}

function outcome(line, result, seconds) {
  return h("article", { class: "panel-box exec-run", "data-testid": "exec-run" },
    h("header", null, h("code", { class: "grow clip", title: line }, line), h("span", { class: "quiet small" }, `${seconds.toFixed(2)} s`), h("span", { class: `badge ${result.exit_code ? "bad" : "good"}`, "data-testid": "exec-code" }, `exit code ${result.exit_code}`)),
    h("div", { class: "body stack" }, stream("Output", result.stdout), stream("Errors", result.stderr), result.stdout || result.stderr ? null : h("p", { class: "quiet" }, "It wrote nothing."),
      result.truncated ? h("p", { class: "hint" }, "There was more: the first MiB of each stream is kept.") : null));
}

export async function open(panel, { id }) {
  const choosable = store.containers.get(id)?.engine === "raw" && visitor().staff;
  const command = h("input", { class: "mono", placeholder: "ls -l /", required: true, autocomplete: "off", spellcheck: "false", "data-testid": "exec-command" });
  const all = h("input", { type: "radio", name: "exec-all", props: { checked: true } });
  const some = h("input", { type: "radio", name: "exec-all", "data-testid": "exec-some" });
  const boxes = NAMESPACE_TYPES.map((kind) => h("input", { type: "checkbox", value: kind, "data-testid": `exec-${kind}` }));
  const choice = h("div", { class: "row wrap", role: "group", "aria-label": "Namespaces to join" }, boxes.map((one) => h("label", { class: "row small", "data-ns": one.value }, one, h("span", { class: "ns-tag" }, one.value))));
  const hint = h("p", { class: "hint" });
  const run = h("button", { type: "submit", class: "primary", "data-testid": "exec-run-it" }, "Run");
  const runs = h("div", { class: "stack", "aria-live": "polite" });
  const kinds = () => (some.checked ? boxes.filter((one) => one.checked).map((one) => one.value) : []);
  function draw() {
    choice.hidden = !some.checked;
    const partly = some.checked && !boxes[0].checked;
    if (partly) hint.textContent = "Without mnt it is the host's program with the host's files, read-only, where the policy shows them. For the rest it has the host's own namespaces.";
    else hint.textContent = some.checked ? "For what is left out it has the host's own namespaces, where the policy lends them." : "One program, run to its end within 60 seconds. Words are split as a shell would; for pipes write sh -c '…'.";
  }
  async function send(event) {
    event.preventDefault();
    const argv = splitCommand(command.value);
    const namespaces = kinds();
    if (!argv.length || (some.checked && !namespaces.length)) {
      (argv.length ? boxes[0] : command).focus();
      return;
    }
    run.disabled = true;
    run.setAttribute("aria-busy", "true");
    const began = performance.now();
    try {
      const result = await api.post(path(id, "exec"), { argv, ...(namespaces.length ? { namespaces } : {}) });
      runs.prepend(outcome(shown(namespaces, argv), result, (performance.now() - began) / 1000));
    } catch (error) {
      runs.prepend(errorState(error));
    }
    while (runs.children.length > KEPT) runs.lastChild.remove();
    run.disabled = false;
    run.removeAttribute("aria-busy");
    command.select();
  }
  const form = h("form", { class: "stack", on: { submit: send, change: draw } },
    h("div", { class: "row" }, h("label", { class: "field grow" }, h("span", null, "Program and arguments"), command)),
    choosable ? h("div", { class: "row wrap" }, h("label", { class: "row small" }, all, "in all of its namespaces"), h("label", { class: "row small" }, some, "only in these:"), choice) : null,
    hint, h("div", { class: "row" }, run));
  draw();
  panel.replaceChildren(h("div", { class: "stack" }, box("Run one program", null, h("div", { class: "body" }, form)), runs));
  command.focus({ preventScroll: true });
}
