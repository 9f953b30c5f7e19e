// Answers to the reader: toasts, a question before something is lost.

import { h, icon } from "./dom.js";

const STAY = 5000; // ms; long enough to read two lines
const STAY_ERROR = 12000; // errors have a hint to read and act on
const MOST = 4;

/** tone: good | bad | info. action: {label, run}. Stays while the pointer or the focus is on it. */
export function toast(message, { tone = "good", hint = "", action = null } = {}) {
  const stack = document.querySelector("toast-stack");
  if (!stack) return;
  const close = () => item.remove();
  let timer = 0;
  const wait = () => {
    timer = setTimeout(close, tone === "bad" ? STAY_ERROR : STAY);
  };
  const hold = () => clearTimeout(timer);
  const item = h("div", { class: "toast", "data-tone": tone, "data-testid": "toast", on: { mouseenter: hold, mouseleave: wait, focusin: hold, focusout: wait } },
    icon({ good: "check", bad: "warning", info: "info" }[tone]),
    h("p", null, message),
    h("span", { class: "acts" },
      action ? h("button", { type: "button", class: "tiny", "data-testid": "toast-action", on: { click: () => { close(); action.run(); } } }, action.label) : null,
      h("button", { type: "button", class: "tiny square bare", "aria-label": "Dismiss", on: { click: close } }, icon("close"))),
    hint ? h("p", { class: "hint" }, hint) : null);
  stack.append(item);
  while (stack.children.length > MOST) stack.firstChild.remove();
  wait();
}

export function toastError(error) {
  if (error.status === 401) {
    location.assign(`/login/?next=${encodeURIComponent(location.pathname)}`);
    return;
  }
  toast(error.message, { tone: "bad", hint: error.hint });
  if (!("code" in error)) throw error; // a slip in our own code belongs into the console too
}

/** → true when the reader agrees. `details` are nodes or text. */
export function ask(title, details, agree, { danger = true } = {}) {
  return new Promise((resolve) => {
    const dialog = h("dialog", { "aria-labelledby": "ask-title", class: "ask", "data-testid": "confirm" },
      h("form", { method: "dialog" },
        h("header", null, h("h2", { id: "ask-title" }, title)),
        h("div", { class: "body stack" }, details),
        h("footer", null,
          h("button", { value: "", "data-testid": "confirm-cancel" }, "Cancel"),
          h("button", { value: "yes", class: danger ? "primary danger" : "primary", autofocus: true, "data-testid": "confirm-ok" }, agree))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** Asks for a line of text, or for `lines` of it. `send(text)` does it; its failure is shown and the dialog stays. → true when it was done */
export function askText(title, label, { value = "", agree = "OK", hint = "", lines = 1, send }) {
  return new Promise((resolve) => {
    let done = false;
    const props = { name: "text", spellcheck: "false", autocomplete: "off", autofocus: true, "data-testid": "ask-text" };
    const box = lines > 1 ? h("textarea", { ...props, rows: lines, class: "mono", props: { value } }) : h("input", { ...props, value, required: true });
    const problem = h("p", { class: "error-text", role: "alert" });
    const dialog = h("dialog", { "aria-labelledby": "ask-title", class: "ask" },
      h("form", { method: "dialog", novalidate: true, on: { submit } },
        h("header", null, h("h2", { id: "ask-title" }, title)),
        h("div", { class: "body stack" }, h("label", { class: "field" }, h("span", null, label), box, hint ? h("span", { class: "hint" }, hint) : null), problem),
        h("footer", null, h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"), h("button", { type: "submit", class: "primary", "data-testid": "ask-send" }, agree))));
    async function submit(event) {
      event.preventDefault();
      try {
        await send(box.value.trim());
        done = true;
        dialog.close();
      } catch (error) {
        problem.textContent = `${error.message} ${error.hint ?? ""}`;
        box.setAttribute("aria-invalid", "true");
        box.focus();
      }
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(done);
    });
    document.body.append(dialog);
    dialog.showModal();
    box.select();
  });
}
