// The import of one file. It goes on while other pages are looked at, and ends with the tab or the session: what was sent is stored, and sent
// again it changes nothing.
import { newKey, post } from "./api.js";
import { effect, signal } from "./lib.js";
import { Reading } from "./reading.js";
import { state } from "./session.js";

const MOST_TRIES = 15; // of one batch; about three minutes
const LONGEST_PAUSE = 15; // seconds
const STILL_RUNNING = 409;
const TOO_MANY = 429;

/**
 * What is being imported, or null: `{ stage, fileName, … }`. The stages: `reading`; `question` with it; `unreadable` with the reason; `ready`
 * with what was `found`; `importing` with `done` rows of `found.rows`, the `counts`, and the error that it `waits` for to pass; `stopped`, maybe
 * with an `error`; `done`.
 */
export const current = signal(null);

let running = null;

/** Read a file; another one is forgotten. */
export function begin(file) {
  forget();
  running = new Import(file);
}

/** Say what the file does not: `{ owner }` or `{ order }`. */
export const answer = (said) => running.read(said);

/** Send what was found, or go on with it. */
export const start = () => running.send();

/** Stop sending; `start` goes on. */
export const stop = () => running.stop();

/** Drop it; what was sent stays. */
export function forget() {
  running?.end();
  running = null;
  current.value = null;
}

effect(() => state.value === "none" && forget());

class Import {
  #file;
  #said = {};
  #reading = new Reading();
  #request = null; // that was not answered yet
  #sending = null;
  #ended = false;

  constructor(file) {
    this.#file = file;
    this.read();
  }

  async read(said = {}) {
    Object.assign(this.#said, said);
    this.#show({ stage: "reading", fileName: this.#file.name });
    try {
      const { found, question, unreadable } = await this.#reading.open(this.#file, this.#said);
      if (question) this.#show({ stage: "question", question });
      else if (unreadable) this.#show({ stage: "unreadable", reason: unreadable });
      else this.#show({ stage: "ready", found, done: 0, counts: { created: 0, updated: 0, unchanged: 0 } });
    } catch (error) {
      this.#show({ stage: "unreadable", error });
    }
  }

  async send() {
    this.#sending = new AbortController();
    this.#show({ stage: "importing", error: null, waits: null });
    try {
      while ((this.#request ??= await this.#next())) {
        const answer = await this.#sent(this.#request);
        this.#count(this.#request, answer);
        this.#request = null;
      }
      this.#show({ stage: "done", done: current.value?.found.rows });
    } catch (error) {
      this.#show({ stage: "stopped", error: error.name === "AbortError" ? null : error });
    }
  }

  stop() {
    this.#sending?.abort();
  }

  end() {
    this.#ended = true;
    this.stop();
    this.#reading.end();
  }

  /** A batch with its key, which all tries to send it share. */
  async #next() {
    const request = await this.#reading.next();
    return request && { ...request, key: newKey() };
  }

  async #sent({ path, body, key }) {
    const { signal } = this.#sending;
    for (let tries = 1; ; tries++) {
      signal.throwIfAborted();
      try {
        return await post(path, body, { key, signal });
      } catch (error) {
        if (!mayPass(error) || tries === MOST_TRIES) throw error;
        this.#show({ waits: error });
        await pause(error.retryAfter ?? Math.min(LONGEST_PAUSE, 2 ** (tries - 1)), signal);
      }
    }
  }

  #count({ path, position }, { created, updated, unchanged }) {
    if (path !== "/api/sync/messages") return;
    const { counts } = current.value;
    const sum = { created: counts.created + created, updated: counts.updated + updated, unchanged: counts.unchanged + unchanged };
    this.#show({ done: position, counts: sum, waits: null });
  }

  #show(change) {
    if (!this.#ended) current.value = { ...current.value, ...change };
  }
}

/** Whether the same request may succeed a while later. */
function mayPass({ status }) {
  return status === 0 || status === STILL_RUNNING || status === TOO_MANY || status >= 500;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}
