// What happens in the account, live: one WebSocket for all pages, which comes back by itself and misses nothing.
import { get } from "./api.js";
import { effect, signal, useEffect, useRef } from "./lib.js";
import { forget, renewed, state, token } from "./session.js";

const TOKEN_VOID = 4401;
const DEACTIVATED = 4403;
const SHORTEST_PAUSE = 400; // milliseconds
const LONGEST_PAUSE = 15_000;
const LOOK_AGAIN = "replay:incomplete";

/** "connecting" at first, then "live" or "reconnecting". */
export const connection = signal("connecting");

const listeners = new Set();
let socket = null;
let last = null;
let failures = 0;
let timer = null;

/** Connect, now and again until the session is over. */
export function connect() {
  clearTimeout(timer);
  const address = new URL("/api/events?tokens=true", location.href);
  address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (last) address.searchParams.set("after", last);
  const mine = (socket = new WebSocket(address, ["bearer", token()]));
  let opened = false;
  mine.onopen = () => {
    opened = true;
    const isBack = connection.value === "reconnecting";
    connection.value = "live";
    failures = 0;
    if (isBack) tell({ type: LOOK_AGAIN, data: {} }); // what pages asked for meanwhile has failed
  };
  mine.onmessage = ({ data }) => {
    const event = JSON.parse(data);
    if (event.type !== LOOK_AGAIN) last = event.id;
    tell(event);
  };
  mine.onclose = ({ code }) => mine === socket && lost(code, opened);
}

/** End it; what was seen belongs to a session that is over. */
export function disconnect() {
  clearTimeout(timer);
  const old = socket;
  socket = last = null;
  failures = 0;
  connection.value = "connecting";
  old?.close();
}

/** Call `handler(event)` for events of these types while the component is shown, and where they may have been missed (`replay:incomplete`). */
export function useEvents(types, handler) {
  const latest = useRef(handler);
  latest.current = handler;
  useEffect(() => {
    const listener = (event) => (types.includes(event.type) || event.type === LOOK_AGAIN) && latest.current(event);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, [types.join()]);
}

/** Resolves when it is live, or after so many milliseconds; pages that are shown before it is live are told to look again then. */
export function liveWithin(milliseconds) {
  return new Promise((resolve) => {
    const end = effect(() => connection.value === "live" && resolve());
    setTimeout(() => {
      end();
      if (connection.value === "connecting") connection.value = "reconnecting";
      resolve();
    }, milliseconds);
  });
}

function tell(event) {
  for (const listener of [...listeners]) listener(event);
}

async function lost(code, opened) {
  connection.value = "reconnecting";
  if (code === DEACTIVATED) return forget();
  const pause = Math.min(LONGEST_PAUSE, SHORTEST_PAUSE * 2 ** failures++) * (0.75 + Math.random() / 2);
  timer = setTimeout(() => again(code, opened), pause);
}

async function again(code, opened) {
  try {
    if (code === TOKEN_VOID) await renewed(token());
    else if (!opened) await get("/api/devices"); // a browser is not told why a socket did not open: this tells whether the token is good
  } catch (error) {
    if (error.status === 403) return forget();
  }
  if (state.value === "open") connect();
}

addEventListener("online", () => connection.value === "reconnecting" && state.value === "open" && connect());
