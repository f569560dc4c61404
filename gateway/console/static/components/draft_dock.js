// Below the messages: ask for a draft, watch it grow, and accept, edit or reject it.
import { copy } from "../drafting.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useId, useLayoutEffect, useRef, useState } from "../lib.js";
import { senderName } from "../names.js";
import { texts } from "../texts.js";
import { Icon } from "./icons.js";
import { notify } from "./notice.js";
import { Failure } from "./states.js";

const words = texts.draft;
const MOST = 4;
const OVER = ["done", "cancelled", "failed"];

/** `answered` is the message that is answered by default; `chosen()` the one that has the focus, if one has; `peer` as of `senderName`. */
export function DraftDock({ draft, peer, answered, chosen }) {
  const [count, setCount] = useState(1);
  const [selected, setSelected] = useState(0);
  const [mode, setMode] = useState("look"); // or "edit", "reject"
  const dock = useRef(null);
  const { phase, responseId } = draft;
  useLayoutEffect(() => {
    setMode("look"); // before a key can come, which would be undone
    setSelected(0);
  }, [responseId, phase === "writing"]);

  useEffect(() => {
    if (document.activeElement === document.body) dock.current.focus({ preventScroll: true }); // the button that had the focus is gone
  }, [phase, mode]);

  const begin = (message) => {
    if (message && ["idle", "ready", ...OVER].includes(phase)) draft.write(message, count);
  };
  const again = () => begin(draft.message ?? answered);
  const ready = phase === "ready";
  useKeys({
    d: () => begin(chosen() ?? (phase === "done" ? null : draft.message) ?? answered),
    a: () => (ready ? draft.judge({ action: "accept" }, selected) : false),
    e: () => (ready ? setMode("edit") : false),
    r: () => (ready ? setMode("reject") : false),
    Escape: () => leave(draft, mode, setMode),
    ...Object.fromEntries([1, 2, 3, 4].map((number) => [number, () => (ready && number <= draft.candidates.length ? setSelected(number - 1) : false)])),
  });

  if (phase === "idle") {
    return html`<section ref=${dock} tabindex="-1" class="dock idle" aria-label=${words.label}>
      ${answered
        ? html`<${Idle} name=${senderName(answered, peer)} count=${count} setCount=${setCount} begin=${() => begin(answered)} queue=${() => draft.queue(answered, count)} />`
        : html`<p class="quiet">${words.nothing}</p>`}
    </section>`;
  }
  return html`<section ref=${dock} tabindex="-1" class="dock" aria-label=${words.label}>
    <${Head} draft=${draft} peer=${peer} />
    <${Candidates} draft=${draft} selected=${selected} select=${setSelected} hidden=${mode === "edit"} />
    ${draft.error && html`<${Failure} error=${draft.error} />`}
    ${ready && mode === "look" && html`<${Choices} draft=${draft} selected=${selected} setMode=${setMode} again=${again} />`}
    ${ready && mode === "edit" && html`<${EditForm} draft=${draft} selected=${selected} close=${() => setMode("look")} />`}
    ${ready && mode === "reject" && html`<${RejectForm} draft=${draft} selected=${selected} close=${() => setMode("look")} />`}
    ${OVER.includes(phase) && html`<${After} draft=${draft} again=${again} />`}
  </section>`;
}

function leave(draft, mode, setMode) {
  if (mode !== "look") setMode("look");
  else if (draft.phase === "writing" || draft.phase === "waiting") draft.stop();
  else if (OVER.includes(draft.phase)) draft.dismiss();
  else return false;
}

function Idle({ name, count, setCount, begin, queue }) {
  const id = useId();
  return html`<button type="button" class="button primary" onClick=${begin} title=${words.idleHint(name)}>
      <${Icon} name="drafts" />${words.idle}<kbd aria-hidden="true">D</kbd>
    </button>
    <div class="dock-options">
      <span class="label" id=${id}>${words.candidates}</span>
      <div class="segments" role="group" aria-labelledby=${id}>
        ${Array.from({ length: MOST }, (_, number) => number + 1).map(
          (number) => html`<button key=${number} type="button" aria-pressed=${number === count} onClick=${() => setCount(number)}>${number}</button>`,
        )}
      </div>
    </div>
    <button type="button" class="button plain" title=${words.queueHint} onClick=${queue}>${words.queue}</button>`;
}

function Head({ draft, peer }) {
  const { phase, message, action } = draft;
  const marks = { accept: words.accepted, edit: words.edited, reject: words.rejected };
  const mark = { waiting: words.waiting, writing: words.writing, done: marks[action] }[phase];
  return html`<header class="dock-head">
    <h3>${words.title}</h3>
    ${mark && html`<span class=${`badge ${phase === "done" ? (action === "reject" ? "" : "good") : "accent"}`}>${mark}</span>`}
    ${message && html`<p class="dock-answering quiet" dir="auto">${words.answering} ${senderName(message, peer)}: ${message.text}</p>`}
    ${(phase === "writing" || phase === "waiting") &&
    html`<button type="button" class="button" onClick=${draft.stop}><${Icon} name="stop" />${words.stop}<kbd aria-hidden="true">Esc</kbd></button>`}
  </header>`;
}

/** Screen readers hear the draft when it is complete, not every word of it. */
function Candidates({ draft, selected, select, hidden }) {
  const { phase, candidates, action } = draft;
  const several = candidates.length > 1;
  const busy = phase === "writing" || phase === "waiting";
  if (hidden || (OVER.includes(phase) && !candidates.some((candidate) => candidate.text))) return null;
  return html`<div class="candidates" data-several=${several} aria-live="polite" aria-busy=${busy}>
    ${candidates.map((candidate, number) => {
      const content = html`<p class="candidate-text" dir="auto" data-growing=${busy}>${candidate.text.trimStart()}</p>
        <${Facts} candidate=${candidate} number=${several ? number + 1 : null} />`;
      return several && phase === "ready"
        ? html`<button key=${number} type="button" class="candidate" aria-pressed=${number === selected} onClick=${() => select(number)}>${content}</button>`
        : html`<div key=${number} class="candidate" data-rejected=${action === "reject"}>${content}</div>`;
    })}
  </div>`;
}

function Facts({ candidate, number }) {
  const sure = typeof candidate.confidence === "number";
  const cut = candidate.finishReason === "length";
  if (!number && !sure && !cut) return null;
  return html`<p class="candidate-facts">
    ${number && html`<kbd>${number}</kbd>`}
    ${sure && html`<span title=${words.confidenceTitle}>${words.confidence(Math.round(candidate.confidence * 100))}</span>`}
    ${cut && html`<span>${words.cutOff}</span>`}
  </p>`;
}

function Choices({ draft, selected, setMode, again }) {
  return html`<div class="dock-actions">
    <button type="button" class="button primary" onClick=${() => draft.judge({ action: "accept" }, selected)}>
      <${Icon} name="check" />${words.accept}<kbd aria-hidden="true">A</kbd>
    </button>
    <button type="button" class="button" onClick=${() => setMode("edit")}><${Icon} name="drafts" />${words.edit}<kbd aria-hidden="true">E</kbd></button>
    <button type="button" class="button" onClick=${() => setMode("reject")}><${Icon} name="cross" />${words.reject}<kbd aria-hidden="true">R</kbd></button>
    <button type="button" class="button plain" title=${words.again} onClick=${again}><${Icon} name="refresh" /><span class="wide-only">${words.again}</span></button>
  </div>`;
}

function EditForm({ draft, selected, close }) {
  const id = useId();
  const field = useRef(null);
  const [text, setText] = useState(draft.candidates[selected].text.trim());
  const [busy, setBusy] = useState(false);
  useLayoutEffect(() => {
    field.current.focus(); // before the next key comes, which would be taken for a shortcut
    field.current.setSelectionRange(text.length, text.length);
  }, []);

  async function save(event) {
    event?.preventDefault();
    if (!text.trim() || busy) return;
    setBusy(true);
    if (!(await draft.judge({ action: "edit", editedResponse: text }, selected))) setBusy(false);
  }

  function keys(event) {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) save(event);
    if (event.key === "Escape") close();
  }

  return html`<form class="dock-form" onSubmit=${save}>
    <label class="label" for=${id}>${words.editLabel}</label>
    <textarea
      ref=${field}
      id=${id}
      class="input"
      dir="auto"
      rows=${Math.min(8, Math.max(2, Math.ceil(text.length / 70)))}
      maxlength="20000"
      value=${text}
      onInput=${(event) => setText(event.target.value)}
      onKeyDown=${keys}
      aria-describedby=${`${id}-hint`}
    />
    <div class="dock-actions">
      <button type="submit" class="button primary" disabled=${busy || !text.trim()}><${Icon} name="check" />${words.save}</button>
      <button type="button" class="button" onClick=${close}>${texts.common.cancel}</button>
      <p id=${`${id}-hint`} class="quiet">${words.editHint}</p>
    </div>
  </form>`;
}

function RejectForm({ draft, selected, close }) {
  const id = useId();
  const field = useRef(null);
  const [reason, setReason] = useState("");
  const [busy, setBusy] = useState(false);
  useLayoutEffect(() => field.current.focus(), []);

  async function send(event) {
    event.preventDefault();
    setBusy(true);
    if (!(await draft.judge({ action: "reject", rejectionReason: reason.trim() || null }, selected))) setBusy(false);
  }

  return html`<form class="dock-form" onSubmit=${send}>
    <label class="label" for=${id}>${words.reasonLabel}</label>
    <input
      ref=${field}
      id=${id}
      class="input"
      maxlength="2000"
      placeholder=${words.reasonPlaceholder}
      value=${reason}
      onInput=${(event) => setReason(event.target.value)}
      onKeyDown=${(event) => event.key === "Escape" && close()}
    />
    <div class="dock-actions">
      <button type="submit" class="button primary" disabled=${busy}><${Icon} name="cross" />${words.rejectNow}</button>
      <button type="button" class="button" onClick=${close}>${texts.common.cancel}</button>
    </div>
  </form>`;
}

function After({ draft, again }) {
  const { phase, action, candidates } = draft;
  const text = candidates[0]?.text ?? "";
  const copyable = phase === "done" && action !== "reject";
  const copyIt = async () => notify((await copy(text)) ? texts.common.copied : words.acceptedNotCopied);
  return html`<div class="dock-actions">
    ${phase === "cancelled" && html`<p class="quiet">${words.cancelled}</p>`}
    ${copyable && html`<button type="button" class="button" onClick=${copyIt}><${Icon} name="copy" />${texts.common.copy}</button>`}
    <button type="button" class="button" onClick=${again}><${Icon} name="refresh" />${words.again}</button>
    <button type="button" class="button plain" onClick=${draft.dismiss}>${words.dismiss}<kbd aria-hidden="true">Esc</kbd></button>
  </div>`;
}
