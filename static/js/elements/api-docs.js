// The REST API, drawn from its own OpenAPI document.

import { copyButton, errorState, h, icon, setText, skeleton } from "../dom.js";

const SOURCE = "/api/v1/openapi.json";
const METHODS = ["get", "post", "patch", "put", "delete"];

function resolve(document_, schema) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.split("/").slice(1).reduce((at, key) => at?.[key], document_) ?? {};
}

function typeName(schema) {
  if (!schema) return "any";
  if (schema.$ref) return schema.$ref.split("/").pop();
  for (const key of ["anyOf", "oneOf"]) if (schema[key]) return schema[key].map(typeName).join(" | ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  if (schema.type === "array") return `[${typeName(schema.items)}]`;
  return Array.isArray(schema.type) ? schema.type.join(" | ") : schema.type ?? "any";
}

function fields(document_, schema, depth = 0) {
  const plain = resolve(document_, schema);
  if (!plain.properties) return h("code", null, typeName(schema));
  return h("dl", { class: "facts schema" }, Object.entries(plain.properties).map(([name, inner]) => [
    h("dt", null, h("code", null, name), plain.required?.includes(name) ? h("span", { class: "faint" }, " required") : null),
    h("dd", null, h("code", { class: "faint" }, typeName(inner)), inner.description ? h("span", { class: "quiet" }, ` ${inner.description}`) : null, depth < 2 && resolve(document_, inner).properties ? fields(document_, inner, depth + 1) : null)]));
}

function operation(document_, path, method, spec) {
  const body = spec.requestBody?.content?.["application/json"]?.schema;
  const curl = `curl -H "Authorization: Bearer $TOKEN"${method === "get" ? "" : ` -X ${method.toUpperCase()}`}${body ? " -H 'Content-Type: application/json' -d '{…}'" : ""} ${location.origin}${path}`;
  const parameters = (spec.parameters ?? []).map((parameter) => resolve(document_, parameter));
  return h("details", { class: "operation panel-box", "data-testid": "operation", "data-words": `${method} ${path} ${spec.summary ?? ""}`.toLowerCase() },
    h("summary", null, h("span", { class: `method ${method}` }, method.toUpperCase()), h("code", { class: "clip" }, path), h("span", { class: "quiet clip" }, spec.summary ?? "")),
    h("div", { class: "body stack" },
      spec.description && spec.description !== spec.summary ? h("p", { class: "quiet" }, spec.description) : null,
      parameters.length ? h("div", null, h("h3", null, "Parameters"), h("dl", { class: "facts" }, parameters.map((parameter) => [h("dt", null, h("code", null, parameter.name), h("span", { class: "faint" }, ` ${parameter.in}`)), h("dd", null, h("code", { class: "faint" }, typeName(parameter.schema)), h("span", { class: "quiet" }, ` ${parameter.description ?? ""}`))]))) : null,
      body ? h("div", null, h("h3", null, "Body"), fields(document_, body)) : null,
      h("div", null, h("h3", null, "Answers"), h("dl", { class: "facts" }, Object.entries(spec.responses ?? {}).map(([status, raw]) => {
        const response = resolve(document_, raw);
        const schema = response.content?.["application/json"]?.schema;
        return [h("dt", null, h("code", null, status)), h("dd", null, response.description ?? "", schema ? [" ", fields(document_, schema)] : null)];
      }))),
      h("div", { class: "row" }, h("pre", { class: "code grow" }, curl), copyButton(() => curl))));
}

class ApiDocs extends HTMLElement {
  async connectedCallback() {
    this.replaceChildren(h("div", { class: "page-head" }, h("h1", null, "API")), h("div", { class: "panel-box" }, skeleton(12)));
    let document_;
    try {
      const response = await fetch(SOURCE, { credentials: "same-origin" });
      if (!response.ok) throw new Error();
      document_ = await response.json();
    } catch {
      this.lastChild.replaceWith(errorState({ message: "The API's description could not be fetched.", hint: `It is at ${SOURCE}.` }, () => this.connectedCallback()));
      return;
    }
    const search = h("input", { type: "search", "data-search": true, "aria-label": "Filter the operations", placeholder: "Filter", spellcheck: "false" });
    const operations = Object.entries(document_.paths ?? {}).flatMap(([path, item]) => METHODS.filter((method) => item[method]).map((method) => operation(document_, path, method, item[method])));
    const count = h("span", { class: "sub" }, `version ${document_.info?.version ?? ""} · ${operations.length} operations`);
    search.addEventListener("input", () => {
      const wanted = search.value.trim().toLowerCase();
      for (const element of operations) element.hidden = !element.dataset.words.includes(wanted);
      setText(count, `${operations.filter((element) => !element.hidden).length} of ${operations.length} operations`);
    });
    this.replaceChildren(h("div", { class: "page-head" }, h("h1", null, "API"), count, h("div", { class: "tools" }, h("div", { class: "filter" }, icon("search"), search), h("a", { class: "button", href: SOURCE }, "openapi.json"))),
      h("p", { class: "quiet lead" }, "Log in with a session, or send ", h("code", null, "Authorization: Bearer TOKEN"), ". ", h("code", null, "deploy/manage create_token USER"), " prints a token. Errors read ", h("code", null, '{"error":{"code","message","hint"}}'), "."),
      h("div", { class: "stack operations" }, operations));
  }
}

customElements.define("api-docs", ApiDocs);
