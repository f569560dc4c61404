// The example, where it can be had and where it can be taken out again.
import { bringExample, removeExample } from "../example.js";
import { html } from "../lib.js";
import { go } from "../router.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";
import { notify } from "./notice.js";
import { Failure } from "./states.js";

const words = texts.example;

/** Puts the example into the account and shows its threads. */
export function ExampleButton({ kind = "" }) {
  const task = useTask(async () => {
    await bringExample();
    notify(words.brought);
    go(["threads"]);
  });
  return html`<button type="button" class=${`button ${kind}`} disabled=${task.busy} onClick=${task.run}>${task.busy ? words.bringing : words.bring}</button>
    ${task.error && html`<${Failure} error=${task.error} retry=${task.run} />`}`;
}

/** Says that some threads are the example, and takes them out with one click. */
export function ExampleNote({ onRemoved = () => {} }) {
  const task = useTask(async () => {
    await removeExample();
    notify(words.removed);
    go(["threads"]);
    onRemoved();
  });
  return html`<aside class="example-note" aria-label=${words.title}>
    <p>${words.note}</p>
    <button type="button" class="button" disabled=${task.busy} onClick=${task.run}>${task.busy ? words.removing : words.remove}</button>
    ${task.error && html`<${Failure} error=${task.error} />`}
  </aside>`;
}
