// The account: what is in it, all of it to take along, and its end.
import { get, remove, request } from "../api.js";
import { Dialog } from "../components/dialog.js";
import { Facts } from "../components/facts.js";
import { Icon } from "../components/icons.js";
import { Loaded } from "../components/loaded.js";
import { notify } from "../components/notice.js";
import { Page } from "../components/page.js";
import { Failure } from "../components/states.js";
import { save } from "../files.js";
import { size, whole } from "../format.js";
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { forget } from "../session.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";

const words = texts.account;
const KINDS = ["conversations", "messages", "contacts", "responses", "samples", "trainingJobs", "adapters", "devices"];

export function AccountPage() {
  const account = useLoad((signal) => get("/api/account", undefined, { signal }), [], { on: ["sync:completed"] });
  return html`<${Page} title=${words.title}>
    <${Loaded} of=${account}>
      ${(data) => html`<section class="card">
          <h2>${words.contents}</h2>
          <${Facts} narrow facts=${KINDS.map((kind) => [words.kinds[kind], data[kind].toLocaleString("en")])} />
          <p class="quiet">${words.since(whole(data.createdAt))} <code>${data.id}</code></p>
        </section>
        <${Export} />
        <${End} account=${data} />`}
    <//>
  <//>`;
}

function Export() {
  const [received, setReceived] = useState(null);
  const stopping = useRef(null);
  useEffect(() => () => stopping.current?.abort(), []);
  const task = useTask(async () => {
    const mine = (stopping.current = new AbortController());
    setReceived(0);
    try {
      const parts = [];
      const answer = await request("GET", "/api/account/export", { signal: mine.signal });
      for (const reader = answer.body.getReader(); ; ) {
        const { value, done } = await reader.read();
        if (done) break;
        parts.push(value);
        setReceived((before) => before + value.length);
      }
      save(new Blob(parts, { type: "application/zip" }), words.exportFile);
      notify(words.exported);
    } finally {
      setReceived(null);
    }
  });
  return html`<section class="card">
    <h2>${words.exportTitle}</h2>
    <p>${words.exportText}</p>
    ${task.error && html`<${Failure} error=${task.error} />`}
    ${received === null
      ? html`<button type="button" class="button" onClick=${task.run}><${Icon} name="download" />${words.export}</button>`
      : html`<div class="running">
          <progress aria-label=${words.export} />
          <span role="status">${words.received(size(received))}</span>
          <button type="button" class="button" onClick=${() => stopping.current.abort()}>${texts.common.cancel}</button>
        </div>`}
  </section>`;
}

function End({ account }) {
  const [asking, setAsking] = useState(false);
  return html`<section class="card danger-zone">
    <h2>${words.deleteTitle}</h2>
    <p>${words.deleteText}</p>
    <button type="button" class="button danger" onClick=${() => setAsking(true)}><${Icon} name="trash" />${words.delete}</button>
    ${asking && html`<${Deletion} account=${account} onClose=${() => setAsking(false)} />`}
  </section>`;
}

function Deletion({ account, onClose }) {
  const id = useId();
  const [typed, setTyped] = useState("");
  const sure = typed.trim().toLowerCase() === words.phrase;
  const task = useTask(async () => {
    await remove("/api/account", { confirm: account.id });
    forget();
  });
  const submit = (event) => {
    event.preventDefault();
    if (sure) task.run();
  };
  return html`<${Dialog} title=${words.sureTitle} onClose=${onClose}>
    <form onSubmit=${submit}>
      <p>${words.sureText(account)}</p>
      <div class="field">
        <label for=${id}>${words.typePhrase(words.phrase)}</label>
        <input id=${id} autocomplete="off" autocapitalize="off" spellcheck=${false} value=${typed} onInput=${(event) => setTyped(event.target.value)} />
      </div>
      ${task.error && html`<${Failure} error=${task.error} />`}
      <div class="dialog-actions">
        <button type="button" class="button" onClick=${onClose}>${texts.common.cancel}</button>
        <button class="button danger" disabled=${!sure || task.busy}>${words.deleteForGood}</button>
      </div>
    </form>
  <//>`;
}
