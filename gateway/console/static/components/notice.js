// Short words on what just happened, for eyes and screen readers.
import { html, signal } from "../lib.js";

const SHOWN = 5000; // milliseconds
const notice = signal(null);
let timer = null;

/** Say something for a while, such as "Copied". */
export function notify(text) {
  clearTimeout(timer);
  notice.value = text;
  timer = setTimeout(() => (notice.value = null), SHOWN);
}

/** Where it is said; once a document. */
export function Notices() {
  return html`<div class="notices" role="status">${notice.value && html`<p class="notice">${notice.value}</p>`}</div>`;
}
