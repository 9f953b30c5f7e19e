// A dialog with a few fields that does one thing; a refusal is said in it, and what was written stays.

import { h, icon, setText } from "./dom.js";

/** fields: elements with the controls inside, which `send()` reads. testid: of the dialog, its button is TESTID-send. → what send returned, null when called off */
export function formDialog({ title, fields, agree, testid, send }) {
  return new Promise((resolve) => {
    let result = null;
    const error = h("div", { class: "banner bad", role: "alert", hidden: true, "data-testid": `${testid}-error` }, icon("warning"), h("div", null, h("p"), h("p", { class: "hint" })));
    const submit = h("button", { type: "submit", class: "primary", "data-testid": `${testid}-send` }, agree);
    const dialog = h("dialog", { class: "ask wide", "aria-labelledby": "form-title", "data-testid": testid }, h("form", { method: "dialog", novalidate: true, on: { submit: work } },
      h("header", null, h("h2", { id: "form-title" }, title)),
      h("div", { class: "body stack" }, error, fields),
      h("footer", null, h("button", { type: "button", on: { click: () => dialog.close() } }, "Cancel"), submit)));
    async function work(event) {
      event.preventDefault();
      if (submit.disabled) return;
      submit.disabled = true;
      error.hidden = true;
      try {
        result = (await send()) ?? true;
        dialog.close();
      } catch (failure) {
        if (!("code" in failure)) throw failure; // a slip in our own code belongs into the console
        const [message, hint] = error.querySelectorAll("p");
        setText(message, failure.message);
        setText(hint, failure.hint ?? "");
        error.hidden = false;
      } finally {
        submit.disabled = false;
      }
    }
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(result);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
