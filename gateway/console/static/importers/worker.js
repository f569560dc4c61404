// Reads exports beside the page, so that a large one does not hold it up. It is asked by messages `{ id, ask, … }` and answers `{ id, … }`:
// `open` with a file and what was said of it: what was found, a question, or why it cannot be read; `next`: one more body to send, or null.
import { found, requestsOf } from "./batches.js";
import { Question, Unreadable } from "./items.js";
import { openSource } from "./sources.js";

let requests = null;

async function open({ file, said }) {
  try {
    const source = await openSource(file, said);
    requests = requestsOf(source);
    return { found: found(source) };
  } catch (error) {
    if (error instanceof Question) return { question: error.question };
    if (error instanceof Unreadable) return { unreadable: error.reason };
    return { unreadable: error.name === "NotReadableError" ? "gone" : "damaged" };
  }
}

const answers = { open, next: () => ({ request: requests.next().value ?? null }) };

addEventListener("message", async ({ data: { id, ask, ...about } }) => postMessage({ id, ...(await answers[ask](about)) }));
