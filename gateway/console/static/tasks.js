// What buttons do that takes a while.
import { useState } from "./lib.js";

/** `{ run, busy, error, clear }` of a task: it runs once at a time, and an error of it is kept to be shown. */
export function useTask(task) {
  const [state, setState] = useState({ busy: false, error: null });
  const run = async (...args) => {
    if (state.busy) return;
    setState({ busy: true, error: null });
    try {
      await task(...args);
      setState({ busy: false, error: null });
    } catch (error) {
      setState({ busy: false, error: error.name === "AbortError" ? null : error });
    }
  };
  return { ...state, run, clear: () => setState({ busy: false, error: null }) };
}
