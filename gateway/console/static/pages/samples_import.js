// The dialog that makes samples of past replies: it says beforehand what would be taken, and what not and why.
import { get, post } from "../api.js";
import { Dialog } from "../components/dialog.js";
import { Failure } from "../components/states.js";
import { Fragment, html, useId, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { threadName } from "../names.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";

const words = texts.samplesImport;
const IMPORT = "/api/training/samples/import";
const LIMITS = [100, 1_000, 10_000];

export function ImportDialog({ onImported, onClose }) {
  const [wanted, setWanted] = useState({ conversationId: "", since: "", limit: 1_000, maskPersonalData: true });
  const preview = useLoad((signal) => post(IMPORT, { ...bodyOf(wanted), preview: true }, { signal }), [JSON.stringify(wanted)]);
  const task = useTask(async () => onImported(await post(IMPORT, bodyOf(wanted))));
  const found = preview.data?.imported ?? 0;
  return html`<${Dialog} title=${words.title} onClose=${onClose}>
    <p>${words.lead}</p>
    <${Choices} wanted=${wanted} onChange=${(change) => setWanted({ ...wanted, ...change })} />
    <div class="preview" aria-live="polite" aria-busy=${preview.loading}>
      ${preview.error && html`<${Failure} error=${preview.error} retry=${preview.reload} />`}
      ${preview.loading && html`<p class="quiet">${words.looking}</p>`}
      ${preview.data && html`<${Preview} figures=${preview.data} />`}
    </div>
    ${task.error && html`<${Failure} error=${task.error} />`}
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${onClose}>${texts.common.cancel}</button>
      <button type="button" class="button primary" disabled=${!found || preview.loading || task.busy} onClick=${task.run}>
        ${task.busy ? words.importing : found ? words.importThese(found) : words.nothing}
      </button>
    </div>
  <//>`;
}

function bodyOf({ conversationId, since, limit, maskPersonalData }) {
  const body = { limit, maskPersonalData };
  if (conversationId) body.conversationId = conversationId;
  if (since) body.since = new Date(`${since}T00:00`).toISOString();
  return body;
}

function Choices({ wanted, onChange }) {
  const threads = useLoad((signal) => get("/api/conversations", { pageSize: 100 }, { signal }));
  const id = useId();
  return html`<div class="fields pairs">
    <div class="field">
      <label for=${`${id}-thread`}>${words.thread}</label>
      <select id=${`${id}-thread`} value=${wanted.conversationId} onChange=${(event) => onChange({ conversationId: event.target.value })}>
        <option value="">${words.allThreads}</option>
        ${threads.data?.conversations.map((thread) => html`<option key=${thread.id} value=${thread.id}>${threadName(thread)}</option>`)}
      </select>
    </div>
    <div class="field">
      <label for=${`${id}-since`}>${words.since}</label>
      <input id=${`${id}-since`} type="date" min="1970-01-02" max="2199-12-30" value=${wanted.since} onChange=${(event) => onChange({ since: event.target.value })} />
    </div>
    <div class="field">
      <label for=${`${id}-limit`}>${words.limit}</label>
      <select id=${`${id}-limit`} value=${wanted.limit} onChange=${(event) => onChange({ limit: Number(event.target.value) })}>
        ${LIMITS.map((limit) => html`<option key=${limit} value=${limit}>${words.newest(limit)}</option>`)}
      </select>
    </div>
    <label class="check">
      <input type="checkbox" checked=${wanted.maskPersonalData} onChange=${(event) => onChange({ maskPersonalData: event.target.checked })} />
      <span>${words.mask}<small>${words.maskHint}</small></span>
    </label>
  </div>`;
}

/** What an import would do, each reason in words. */
function Preview({ figures: { imported, known, skipped, examples } }) {
  const reasons = Object.entries(skipped).filter(([, count]) => count > 0);
  if (!imported && !known && !reasons.length) return html`<p>${words.noReplies}</p>`;
  return html`<${Fragment}>
    <ul class="figures">
    <li data-kind="good"><strong>${imported.toLocaleString("en")}</strong> ${words.willBeNew(imported)}</li>
    ${known > 0 && html`<li><strong>${known.toLocaleString("en")}</strong> ${words.known(known)}</li>`}
    ${reasons.map(([reason, count]) => html`<li key=${reason}><strong>${count.toLocaleString("en")}</strong> ${words.skipped[reason] ?? words.skippedOther}</li>`)}
    </ul>
    ${examples.length > 0 &&
    html`<h3 class="examples-title">${words.examples}</h3>
      <ul class="examples">
        ${examples.map((example, number) => html`<li key=${number}><span class="quiet">${example.input}</span><span>${example.output}</span></li>`)}
      </ul>`}
  <//>`;
}
