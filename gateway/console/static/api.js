// Calls of the public API: with the token, refreshed once where it has expired, and one kind of error.
import { renewed, token } from "./session.js";
import { texts } from "./texts.js";

const PAUSE = 300; // milliseconds

/** What went wrong, in words for people. `status` is 0 where no answer came; `details` name fields; `retryAfter` is in seconds. */
export class ApiError extends Error {
  constructor(status, { message, details = [], requestId = null } = {}, retryAfter = null) {
    super(message ?? texts.errors.unexpected);
    this.status = status;
    this.details = details;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
  }
}

/** A key for a request that creates: sent again with the same key after an answer got lost, it creates nothing twice. */
export function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Fetch, or throw an ApiError; for what is no JSON. */
export async function request(method, path, { query, body, headers = {}, signal, key } = {}) {
  const address = query ? `${path}?${new URLSearchParams(present(query))}` : path;
  const options = { method, signal, headers: { ...headers } };
  if (body !== undefined) {
    options.body = JSON.stringify(body);
    options.headers["Content-Type"] = "application/json";
  }
  if (key) options.headers["Idempotency-Key"] = key;
  let answer = await send(address, options, token());
  if (answer.status === 401 && token()) {
    const fresh = await renewed(token());
    if (fresh) answer = await send(address, options, fresh);
  }
  if (!answer.ok) throw await errorOf(answer);
  return answer;
}

async function json(...args) {
  const answer = await request(...args);
  return answer.status === 204 ? null : answer.json();
}

export const get = (path, query, options = {}) => json("GET", path, { query, ...options });
export const post = (path, body, options = {}) => json("POST", path, { body, ...options });
/** A POST that creates something: safe to repeat. */
export const create = (path, body, options = {}) => post(path, body, { key: newKey(), ...options });
export const remove = (path, body, options = {}) => json("DELETE", path, { body, ...options });

/** The server-sent events of a POST, as `{ name, data }`. Aborting `signal` ends it with an AbortError. */
export async function* stream(path, body, signal) {
  const answer = await request("POST", path, { body, signal, headers: { Accept: "text/event-stream", "Cache-Control": "no-cache" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
        const lines = rest.slice(0, end).split("\n");
        const field = (name) => lines.find((line) => line.startsWith(`${name}:`))?.slice(name.length + 1).trim();
        if (field("data") !== undefined) yield { name: field("event"), data: JSON.parse(field("data")) };
      }
    }
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(0, { message: texts.errors.brokenOff });
  } finally {
    reader.cancel().catch(() => {}); // it has ended already, or the connection is gone
  }
}

/** What only reads, or has a key, is sent a second time when the connection broke: browsers break them when a network comes or goes. */
async function send(address, options, bearer, again = options.method === "GET" || "Idempotency-Key" in options.headers) {
  const headers = bearer ? { ...options.headers, Authorization: `Bearer ${bearer}` } : options.headers;
  try {
    return await fetch(address, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (!again) throw new ApiError(0, { message: texts.errors.noAnswer });
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    return send(address, options, bearer, false);
  }
}

async function errorOf(answer) {
  const body = await answer.json().catch(() => ({})); // a proxy's page, not the gateway's JSON
  const seconds = Number(answer.headers.get("Retry-After"));
  return new ApiError(answer.status, body, seconds > 0 ? seconds : null);
}

function present(query) {
  return Object.entries(query).filter(([, value]) => value !== undefined && value !== null && value !== "");
}
