// Keyboard shortcuts: single keys, outside of fields. The component that was shown last goes first.
import { useLayoutEffect, useRef } from "./lib.js";

const layers = [];
const FIELDS = "input, textarea, select, [contenteditable]";
const SECOND_KEY = 1500; // milliseconds within which the second of two keys has to come
let first = null;

/**
 * While the component is shown, call `keys[event.key]`, or `keys["g t"]` for one key after the other. A function that answers false lets the
 * next component have the key.
 */
export function useKeys(keys) {
  const latest = useRef(keys);
  latest.current = keys;
  useLayoutEffect(() => {
    layers.push(latest);
    return () => layers.splice(layers.indexOf(latest), 1);
  }, []);
}

addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (event.target.matches?.(FIELDS) || document.querySelector("dialog[open]")) return;
  const name = first && performance.now() < first.until ? `${first.key} ${event.key}` : event.key;
  const startsPair = layers.some((keys) => Object.keys(keys.current).some((key) => key.startsWith(`${event.key} `)));
  first = startsPair ? { key: event.key, until: performance.now() + SECOND_KEY } : null;
  for (const keys of [...layers].reverse()) {
    const action = keys.current[name];
    if (action && action(event) !== false) {
      event.preventDefault();
      return;
    }
  }
});
