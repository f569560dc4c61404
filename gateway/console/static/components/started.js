// The first steps of a new account: what is done, and where the next one is.
import { get } from "../api.js";
import { html, useEffect, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { address } from "../router.js";
import { texts } from "../texts.js";
import { Icon } from "./icons.js";

const words = texts.started;
const DISMISSED = "console.started-dismissed";
const NEWS = ["sync:completed", "conversation:merged", "training:completed", "response:completed"];

/** Goes away when all steps are done, or by its button. Until then it looks again at events, and when `version` changes. */
export function GettingStarted({ version }) {
  const [over, setOver] = useState(() => localStorage.getItem(DISMISSED) !== null);
  const dismiss = () => (localStorage.setItem(DISMISSED, "yes"), setOver(true));
  return over ? null : html`<${Steps} version=${version} dismiss=${dismiss} finish=${() => setOver(true)} />`;
}

function Steps({ version, dismiss, finish }) {
  const { data, reload } = useLoad(stepsOf, [], { on: NEWS });
  const done = data?.every((step) => step.done);
  useEffect(() => {
    if (data) reload();
  }, [version]);
  useEffect(() => {
    if (done) finish(); // whoever has written drafts for years is not asked about at each message
  }, [done]);
  if (!data || done) return null;
  const next = data.find((step) => !step.done);
  return html`<section class="started" aria-labelledby="started">
    <header>
      <h2 id="started">${words.title}</h2>
      <button type="button" class="icon-button" aria-label=${words.dismiss} title=${words.dismiss} onClick=${dismiss}><${Icon} name="close" /></button>
    </header>
    <ol>
      ${data.map(
        (step) => html`<li key=${step.name} data-done=${step.done} data-next=${step === next}>
          <span class="started-mark">${step.done && html`<${Icon} name="check" />`}</span>
          <a href=${step.address}>${words.steps[step.name]}</a>
          ${step.done && html`<span class="visually-hidden">${words.done}</span>`}
        </li>`,
      )}
    </ol>
  </section>`;
}

async function stepsOf(signal) {
  const [account, accepted, newest] = await Promise.all([
    get("/api/account", undefined, { signal }),
    get("/api/training/samples", { source: "accept", pageSize: 1 }, { signal }),
    get("/api/conversations", { pageSize: 1 }, { signal }),
  ]);
  const [thread] = newest.conversations;
  return [
    { name: "messages", done: account.messages > 0, address: address(["bring"]) },
    { name: "samples", done: account.samples > 0, address: address(["samples"], { import: "open" }) },
    { name: "voice", done: account.adapters > 0, address: address(["trainings"], { start: "open" }) },
    { name: "draft", done: accepted.total > 0, address: address(thread ? ["threads", thread.id] : ["threads"]) },
  ];
}
