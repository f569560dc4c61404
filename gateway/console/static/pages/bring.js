// Brings the messages of other programs into the account: choose a file, see what is in it, import it.
import { ExampleButton, ExampleNote } from "../components/example.js";
import { Facts } from "../components/facts.js";
import { Icon } from "../components/icons.js";
import { Page } from "../components/page.js";
import { Empty, Failure } from "../components/states.js";
import { exampleThreads } from "../example.js";
import { date } from "../format.js";
import { begin, current, forget, start, stop } from "../importing.js";
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { address } from "../router.js";
import { texts } from "../texts.js";
import { Question } from "./bring_question.js";

const words = texts.bring;
const MOST_NAMED = 5;

const STAGES = { reading: Reading, question: Question, unreadable: Unreadable, ready: Ready, importing: Importing, stopped: Importing, done: Done };

export function BringPage() {
  const at = current.value;
  const Stage = at && STAGES[at.stage];
  return html`<${Page} title=${words.title}>
    <p class="lead">${words.lead}</p>
    ${Stage ? html`<${Panel} key=${panelOf(at)} title=${titleOf(at)}><${Stage} ...${at} /><//>` : html`<${Choose} />`}
  <//>`;
}

/** Importing and being stopped are one panel, so that the focus stays where it is. */
const panelOf = ({ stage, question }) => (stage === "stopped" ? "importing" : `${stage} ${question?.ask}`);

function titleOf({ stage, fileName, question, found }) {
  if (stage === "question") return words.questions[question.ask];
  if (stage === "ready") return words.ready(words.kinds[found.kind]);
  return words.stages[stage](fileName);
}

/** What is being done with the file. Its heading takes the focus, so that a screen reader tells that there is something new. */
function Panel({ title, children }) {
  const heading = useRef(null);
  useEffect(() => heading.current.focus({ preventScroll: true }), []);
  return html`<section class="card bring-panel">
    <h2 ref=${heading} tabindex="-1" dir="auto">${title}</h2>
    ${children}
  </section>`;
}

function Choose() {
  return html`<${DropZone} />
    <section class="card bring-panel">
      <h2>${words.howTitle}</h2>
      ${words.how.map(
        ({ title, steps, command, needs }) => html`<details key=${title} class="options">
          <summary>${title}</summary>
          ${steps.map((step) => html`<p key=${step}>${step}</p>`)}
          ${command && html`<pre tabindex="0"><code>${command}</code></pre>`}
          ${needs && html`<p>${needs}</p>`}
        </details>`,
      )}
    </section>
    <${Example} />`;
}

function DropZone() {
  const [over, setOver] = useState(false);
  const id = useId();
  const take = (files) => files.length && begin(files[0]);
  const drop = (event) => (event.preventDefault(), setOver(false), take(event.dataTransfer.files));
  return html`<div
    class="drop"
    data-over=${over}
    onDragOver=${(event) => (event.preventDefault(), setOver(true))}
    onDragLeave=${() => setOver(false)}
    onDrop=${drop}
  >
    <span class="empty-icon"><${Icon} name="bring" /></span>
    <p class="empty-title">${words.drop}</p>
    <p class="empty-hint" id=${`${id}-hint`}>${words.dropHint}</p>
    <input
      id=${id}
      class="visually-hidden"
      type="file"
      accept=".txt,.zip,.json"
      aria-describedby=${`${id}-hint`}
      onChange=${(event) => take(event.target.files)}
    />
    <label class="button primary" for=${id}>${words.choose}</label>
  </div>`;
}

function Example() {
  const threads = useLoad(exampleThreads, [], { on: ["sync:completed"] });
  if (!threads.data) return null;
  if (threads.data.length) return html`<${ExampleNote} onRemoved=${threads.reload} />`;
  return html`<section class="card">
    <h2>${texts.example.title}</h2>
    <p>${texts.example.lead}</p>
    <${ExampleButton} />
  </section>`;
}

function Reading() {
  return html`<progress aria-label=${words.progress} />`;
}

function Unreadable({ reason, error }) {
  return html`<div class="failure" role="alert">
      <${Icon} name="warning" />
      <div><p class="failure-title">${error ? error.message : words.failures[reason]}</p></div>
    </div>
    <${Actions}><button type="button" class="button" onClick=${forget}>${words.another}</button><//>`;
}

function Ready({ found }) {
  const { threads, people, owner, messages, first, last, leftOut, damaged } = found;
  if (!messages) {
    return html`<${Empty} icon="threads" title=${words.nothing} hint=${words.nothingHint} />
      <${LeftOut} leftOut=${leftOut} damaged=${damaged} />
      <${Actions}><button type="button" class="button" onClick=${forget}>${words.another}</button><//>`;
  }
  const facts = [
    [words.facts.messages, messages.toLocaleString("en")],
    [words.facts.time, words.span(date(first), date(last))],
    [words.facts.chats, named(threads.map((thread) => thread.name || texts.threads.unnamed))],
    [words.facts.people, named(people.filter((name) => name !== owner))],
    [words.facts.owner, owner],
  ];
  return html`<${Facts} facts=${facts} />
    <${LeftOut} leftOut=${leftOut} damaged=${damaged} />
    <p class="quiet">${words.promise}</p>
    <${Actions}>
      <button type="button" class="button" onClick=${forget}>${texts.common.cancel}</button>
      <button type="button" class="button primary" onClick=${start}>${words.import(messages)}</button>
    <//>`;
}

function named(names) {
  if (names.length <= MOST_NAMED) return names.join(", ");
  return words.andMore(names.slice(0, MOST_NAMED).join(", "), names.length - MOST_NAMED);
}

/** What becomes no message, each reason in words. */
function LeftOut({ leftOut, damaged }) {
  if (!leftOut.length) return null;
  return html`<div class="preview">
    <h3>${words.leftOut}</h3>
    <ul class="figures">
      ${leftOut.map(([reason, count]) => html`<li key=${reason}><strong>${count.toLocaleString("en")}</strong> ${words.reasons[reason] ?? reason}</li>`)}
    </ul>
    ${damaged.length > 0 && html`<p class="quiet">${words.damaged(named(damaged))}</p>`}
  </div>`;
}

function Importing({ stage, found, done, counts, waits, error }) {
  const isStopped = stage === "stopped";
  return html`<progress max=${found.rows} value=${done} aria-label=${words.progress} />
    <p role="status">${words.soFar(done, found.rows)} <span class="quiet">${words.counts(counts)}</span></p>
    ${waits && !isStopped && html`<p class="quiet">${words.waits(waits.message)}</p>`}
    ${error && html`<${Failure} error=${error} />`}
    <p class="quiet">${isStopped ? words.stoppedHint : words.stayHint}</p>
    <${Actions}>
      ${isStopped && html`<button type="button" class="button" onClick=${forget}>${words.another}</button>`}
      <button key="go" type="button" class=${isStopped ? "button primary" : "button"} onClick=${isStopped ? start : stop}>
        ${isStopped ? words.goOn : words.stop}
      </button>
    <//>`;
}

function Done({ counts }) {
  return html`<ul class="figures">
      <li data-kind="good"><strong>${counts.created.toLocaleString("en")}</strong> ${words.new(counts.created)}</li>
      ${counts.updated > 0 && html`<li><strong>${counts.updated.toLocaleString("en")}</strong> ${words.changed(counts.updated)}</li>`}
      ${counts.unchanged > 0 && html`<li><strong>${counts.unchanged.toLocaleString("en")}</strong> ${words.known(counts.unchanged)}</li>`}
    </ul>
    <h3>${words.nextTitle}</h3>
    <ol class="next-steps">
      <li><a class="button primary" href=${address(["samples"], { import: "open" })}>${words.toSamples}</a><span class="quiet">${words.toSamplesHint}</span></li>
      <li><a class="button" href=${address(["trainings"], { start: "open" })}>${words.toTraining}</a><span class="quiet">${words.toTrainingHint}</span></li>
    </ol>
    <${Actions}>
      <a class="button" href=${address(["threads"])}>${words.toThreads}</a>
      <button type="button" class="button" onClick=${forget}>${words.anotherToo}</button>
    <//>`;
}

function Actions({ children }) {
  return html`<div class="bring-actions">${children}</div>`;
}
