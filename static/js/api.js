// The REST API. Every failure is an ApiError with a sentence and, mostly, a next step.

const BASE = "/api/v1";

export class ApiError extends Error {
  constructor(status, { code = "error", message = "", hint = "" } = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.hint = hint;
  }
}

function failure(status, body) {
  if (body?.error) return new ApiError(status, body.error);
  if (status === 401) return new ApiError(status, { code: "log_in_first", message: "You are logged out.", hint: "Log in again; your sandboxes run on." });
  return new ApiError(status, { message: `The panel answered ${status}.`, hint: "Load the page again. If it stays, the log of the web process says more." });
}

const token = () => document.querySelector('meta[name="csrf-token"]')?.content ?? "";

async function request(method, path, body) {
  const headers = { Accept: "application/json", "X-CSRFToken": token() };
  const bytes = body instanceof Blob;
  if (body !== undefined) headers["Content-Type"] = bytes ? "application/octet-stream" : "application/json";
  let response;
  try {
    response = await fetch(BASE + path, { method, headers, body: body === undefined || bytes ? body : JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new ApiError(0, { code: "unreachable", message: "The panel does not answer.", hint: "Check the network, or run deploy/up on the host. Sandboxes run on meanwhile." });
  }
  if (response.status === 204) return null;
  const text = await response.text();
  let parsed = null;
  try {
    parsed = text ? JSON.parse(text) : null;
  } catch {
    if (response.ok) throw new ApiError(response.status, { message: "The panel's answer could not be read.", hint: "Load the page again." });
  }
  if (!response.ok) throw failure(response.status, parsed);
  return parsed;
}

export const api = {
  get: (path) => request("GET", path),
  post: (path, body) => request("POST", path, body),
  put: (path, body) => request("PUT", path, body),
  patch: (path, body) => request("PATCH", path, body),
  delete: (path) => request("DELETE", path),
  /** DELETE whose answer nobody waits for, also while the page goes */
  discard: (path) => void fetch(BASE + path, { method: "DELETE", headers: { "X-CSRFToken": token() }, credentials: "same-origin", keepalive: true }).catch(() => null),
};
