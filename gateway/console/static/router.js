// Addresses are `#/threads/<id>?message=<id>`: the part behind `#` never reaches a server.
import { signal } from "./lib.js";

/** `{ parts: ["threads", "<id>"], query: URLSearchParams }` of the address that is shown. */
export const route = signal(parsed());

addEventListener("hashchange", () => (route.value = parsed()));

export function address(parts, query = {}) {
  const known = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const search = new URLSearchParams(known).toString();
  return `#/${parts.map(encodeURIComponent).join("/")}${search ? `?${search}` : ""}`;
}

export function go(parts, query) {
  location.hash = address(parts, query);
}

/** Show another address in place of this one, which is then not in the history. */
export function replace(parts, query) {
  history.replaceState(null, "", address(parts, query));
  route.value = parsed();
}

function parsed() {
  const [path, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  return { parts: path.split("/").filter(Boolean).map(decoded), query: new URLSearchParams(search) };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part; // typed by hand
  }
}
