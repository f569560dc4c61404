// What a page shows while it waits, when nothing is there, and when something went wrong.
import { html } from "../lib.js";
import { texts } from "../texts.js";
import { Icon } from "./icons.js";

/** Grey lines in the shape of what will come. */
export function Loading({ lines = 5 }) {
  return html`<div class="loading" role="status">
    <span class="visually-hidden">${texts.common.loading}</span>
    ${Array.from({ length: lines }, (_, number) => html`<span key=${number} class="loading-line" />`)}
  </div>`;
}

/** Nothing is here: what it is, and what to do next. */
export function Empty({ icon, title, hint, children }) {
  return html`<div class="empty">
    ${icon && html`<span class="empty-icon"><${Icon} name=${icon} /></span>`}
    <p class="empty-title">${title}</p>
    ${hint && html`<p class="empty-hint">${hint}</p>`}
    ${children}
  </div>`;
}

/** An ApiError: what the gateway says, the fields at fault, and a way on. */
export function Failure({ error, retry }) {
  const details = error.details?.filter((detail) => !error.message.includes(detail.message)) ?? [];
  return html`<div class="failure" role="alert">
    <${Icon} name="warning" />
    <div>
      <p class="failure-title">${error.status === undefined ? texts.errors.title : error.message}</p>
      ${error.status === undefined && html`<p>${texts.errors.unexpected}</p>`}
      ${details.map((detail) => html`<p key=${detail.field}><code>${detail.field}</code> ${detail.message}</p>`)}
      ${error.retryAfter && html`<p>${texts.errors.retryAfter(error.retryAfter)}</p>`}
      ${error.requestId && error.status >= 500 && html`<p class="quiet">${texts.errors.requestId(error.requestId)}</p>`}
      ${retry && html`<button type="button" class="button" onClick=${retry}>${texts.common.retry}</button>`}
    </div>
  </div>`;
}
