// The browser's session: the token is in this module's memory only, the refresh token in a cookie that no script can read.
// Why it is so: docs/decisions/0028-console-session.md
import { ApiError, newKey } from "./api.js";
import { signal } from "./lib.js";
import { texts } from "./texts.js";

const SESSION = "/console/session";
const KEY = "console.refresh-key"; // of a refresh whose answer is not here yet; all tabs send the same
const BROWSER = "console.browser"; // what the account knows this browser by
const SIGNED_OUT = "console.signed-out";
const STILL_RUNNING = 409;

/** "unknown" until it was asked, then "open" or "none". */
export const state = signal("unknown");

let current = null;
let renewal = null;

export const token = () => current;

/** Whether anybody may begin an account here. */
export const registrationIsOpen = () => document.documentElement.dataset.registration === "open";

addEventListener("storage", (event) => event.key === SIGNED_OUT && forget());

/** Take the session up again that this browser has, if it has one. Throws an ApiError where nobody answers. */
export async function restore() {
  await renewed(null);
}

/** Another token than `old`, or null where the session is over. Throws where that cannot be said. */
export async function renewed(old) {
  if (current !== old) return current;
  renewal ??= inTurn(refresh).finally(() => (renewal = null));
  return renewal;
}

/** Pair this browser as the first device of a new account. */
export async function startAccount() {
  const device = { name: deviceName(), hardwareId: browserId(), platform: "web", osVersion: navigator.userAgent.slice(0, 100) };
  const { deviceId, code } = await answered("/api/devices/register", { body: device });
  await pair(deviceId, code);
}

/** Pair this browser as the device that was announced with this code. */
export async function pair(deviceId, code) {
  take(await answered(SESSION, { body: { deviceId, code } }));
}

/** Let this browser's tokens be void, in every tab. */
export async function signOut() {
  const answer = await fetched(SESSION, { method: "DELETE" });
  if (!answer.ok) throw new ApiError(answer.status, await answer.json());
  localStorage.removeItem(KEY);
  localStorage.setItem(SIGNED_OUT, String(Date.now()));
  forget();
}

/** Known to be over: the device was deactivated, or its tokens are void. */
export function forget() {
  current = null;
  state.value = "none";
}

function take(answer) {
  current = answer.token;
  state.value = "open";
}

/** One tab after the other: a refresh token works once. Pages without HTTPS have no locks; the shared key does the same for them. */
function inTurn(task) {
  return navigator.locks ? navigator.locks.request("console.session", task) : task();
}

async function refresh() {
  for (let attempt = 0; ; attempt++) {
    const key = localStorage.getItem(KEY) ?? newKey();
    localStorage.setItem(KEY, key);
    const answer = await fetched(`${SESSION}/refresh`, { method: "POST", headers: { "Idempotency-Key": key } });
    if (answer.ok) {
      take(await answer.json());
      localStorage.removeItem(KEY);
      return current;
    }
    if (answer.status === STILL_RUNNING && attempt < 20) {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      continue;
    }
    if (answer.status !== 401) throw new ApiError(answer.status, await answer.json().catch(() => ({})));
    localStorage.removeItem(KEY);
    forget();
    return null;
  }
}

async function answered(address, { body }) {
  const headers = { "Content-Type": "application/json", "Idempotency-Key": newKey() };
  const answer = await fetched(address, { method: "POST", headers, body: JSON.stringify(body) });
  const content = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new ApiError(answer.status, content);
  return content;
}

async function fetched(address, options) {
  try {
    return await fetch(address, options);
  } catch {
    throw new ApiError(0, { message: texts.errors.noAnswer });
  }
}

function browserId() {
  const id = localStorage.getItem(BROWSER) ?? newKey();
  localStorage.setItem(BROWSER, id);
  return id;
}

function deviceName() {
  const known = { Edg: "Edge", Firefox: "Firefox", Chrome: "Chrome", Safari: "Safari" };
  const name = Object.keys(known).find((word) => navigator.userAgent.includes(word));
  return texts.session.deviceName(known[name] ?? texts.session.browser);
}
