// What a page asks of the API when it is shown, and again when events say that it changed.
import { useCallback, useEffect, useMemo, useRef, useState } from "./lib.js";
import { useEvents } from "./events.js";

/**
 * The answer of `load(signal)`; asked again when `inputs` change, at events of the types `on`, and by `reload()`.
 * What is shown stays until the new answer is there; a newer question makes an older answer void.
 */
export function useLoad(load, inputs = [], { on = [], when = () => true } = {}) {
  const [result, setResult] = useState({ data: null, error: null, loading: true });
  const asked = useRef(null);
  const latest = useRef(load);
  latest.current = load;

  const reload = useCallback(async () => {
    asked.current?.abort();
    const mine = (asked.current = new AbortController());
    setResult((before) => ({ ...before, loading: true }));
    try {
      const data = await latest.current(mine.signal);
      if (mine === asked.current) setResult({ data, error: null, loading: false });
    } catch (error) {
      if (mine === asked.current && error.name !== "AbortError") setResult((before) => ({ ...before, error, loading: false }));
    }
  }, []);

  useEffect(() => {
    setResult({ data: null, error: null, loading: true });
    reload();
    return () => asked.current?.abort();
  }, inputs);

  const soon = useSoon(reload);
  useEvents(on, (event) => (event.type === "replay:incomplete" || when(event)) && soon());
  return { ...result, reload };
}

/** A function that calls `task` once, a moment after it was called last or at the latest half a second after it was called first. */
export function useSoon(task, quiet = 80, longest = 500) {
  const state = useRef({ timer: null, since: 0 });
  useEffect(() => () => clearTimeout(state.current.timer), []);
  return useCallback(() => {
    const now = performance.now();
    const { timer, since } = state.current;
    const first = timer ? since : now;
    clearTimeout(timer);
    const run = () => ((state.current.timer = null), task());
    state.current = { since: first, timer: setTimeout(run, Math.max(0, Math.min(quiet, first + longest - now))) };
  }, [task]);
}

/**
 * A list that comes in pages: `{ items, total }` of all pages that were asked for, and `more()` for one more.
 * `load(page, signal)` answers `{ items, total }`; each item has an `id`, by which one that moved between two pages is shown once.
 */
export function usePages(load, inputs = [], options = {}) {
  const wanted = useRef(1);
  useMemo(() => (wanted.current = 1), inputs);
  const result = useLoad(
    async (signal) => {
      const items = new Map();
      for (let page = 1; page <= wanted.current; page++) {
        const answer = await load(page, signal);
        for (const item of answer.items) items.set(item.id, item);
        if (page === wanted.current || items.size >= answer.total || answer.items.length === 0) {
          return { items: [...items.values()], total: answer.total };
        }
      }
    },
    inputs,
    options,
  );
  const more = useCallback(() => {
    wanted.current += 1;
    result.reload();
  }, [result.reload]);
  return { ...result, more };
}
