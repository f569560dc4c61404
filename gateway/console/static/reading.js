// The worker that reads an export beside the page.
import { ApiError } from "./api.js";
import { texts } from "./texts.js";

const WORKER = "/console/importers/worker.js";
// The only script that may be started by its address; the content security policy knows this policy by its name.
const policy = globalThis.trustedTypes?.createPolicy("worker", { createScriptURL: () => WORKER });

export class Reading {
  #worker = new Worker(policy ? policy.createScriptURL("") : WORKER, { type: "module" });
  #waiting = new Map();
  #asked = 0;

  constructor() {
    this.#worker.onmessage = ({ data: { id, ...answer } }) => {
      this.#waiting.get(id)?.resolve(answer);
      this.#waiting.delete(id);
    };
    this.#worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.#waiting.values()) reject(new ApiError(0, { message: texts.bring.notLoaded }));
      this.#waiting.clear();
    };
  }

  /** What is found in a file: `{ found }`, `{ question }` or `{ unreadable }`; `said` is what the person said of it. */
  open(file, said) {
    return this.#ask({ ask: "open", file, said });
  }

  /** The next body to send, `{ path, body, position }`; null behind the last. */
  async next() {
    return (await this.#ask({ ask: "next" })).request;
  }

  end() {
    this.#worker.terminate();
  }

  #ask(question) {
    const id = ++this.#asked;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...question });
    });
  }
}
