// The first visit: begin an account, or pair this browser with a code.
import { Heading } from "../components/page.js";
import { Failure } from "../components/states.js";
import { html, useId, useState } from "../lib.js";
import { pair, registrationIsOpen, startAccount } from "../session.js";
import { texts } from "../texts.js";

const words = texts.session;
const DEVICE_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** `failed` is an error of a link that was followed to here. */
export function WelcomePage({ failed = null }) {
  const [error, setError] = useState(failed);
  const [busy, setBusy] = useState(false);

  async function attempt(task) {
    setBusy(true);
    setError(null);
    try {
      await task();
    } catch (problem) {
      setError(problem);
      setBusy(false);
    }
  }

  return html`<main class="welcome">
    <div class="welcome-box">
      <img src="/console/icon.svg" alt="" width="44" height="44" />
      <${Heading} title=${words.welcome} />
      <p class="lead">${words.lead}</p>
      ${error && html`<${Failure} error=${error} />`}
      ${registrationIsOpen() ? html`<${Start} busy=${busy} start=${() => attempt(startAccount)} />` : html`<${Closed} />`}
      <${PairForm} busy=${busy} submit=${(deviceId, code) => attempt(() => pair(deviceId, code))} />
    </div>
  </main>`;
}

function Start({ busy, start }) {
  return html`<section class="card">
    <h2>${words.startTitle}</h2>
    <p>${words.startHint}</p>
    <button type="button" class="button primary wide" disabled=${busy} onClick=${start}>${words.start}</button>
  </section>`;
}

function Closed() {
  return html`<section class="card">
    <h2>${words.closedTitle}</h2>
    <p>${words.closedHint}</p>
    <pre tabindex="0"><code>${words.closedCommand}</code></pre>
    <p>${words.or}</p>
    <pre tabindex="0"><code>${words.closedCommandServer}</code></pre>
  </section>`;
}

function PairForm({ busy, submit }) {
  const id = useId();
  const [deviceId, setDeviceId] = useState("");
  const [code, setCode] = useState("");
  const [problem, setProblem] = useState({});

  function check(event) {
    event.preventDefault();
    const wrong = {};
    if (!DEVICE_ID.test(deviceId.trim())) wrong.deviceId = words.badDeviceId;
    if (!/^[0-9]{6}$/.test(code.trim())) wrong.code = words.badCode;
    setProblem(wrong);
    if (wrong.deviceId || wrong.code) document.getElementById(`${id}-${wrong.deviceId ? "deviceId" : "code"}`).focus();
    else submit(deviceId.trim(), code.trim());
  }

  return html`<form class="card" onSubmit=${check} novalidate>
    <h2>${words.pairTitle}</h2>
    <p>${words.pairHint}</p>
    <${Field} id=${`${id}-deviceId`} label=${words.deviceId} problem=${problem.deviceId} value=${deviceId} onInput=${setDeviceId} />
    <${Field}
      id=${`${id}-code`}
      label=${words.code}
      hint=${words.codeHint}
      problem=${problem.code}
      value=${code}
      onInput=${setCode}
      inputmode="numeric"
      autocomplete="one-time-code"
      maxlength="6"
    />
    <button type="submit" class="button wide" disabled=${busy}>${busy ? words.pairing : words.pair}</button>
  </form>`;
}

function Field({ id, label, hint, problem, value, onInput, ...rest }) {
  return html`<div class="field">
    <label for=${id}>${label}</label>
    <input
      id=${id}
      value=${value}
      onInput=${(event) => onInput(event.target.value)}
      autocomplete="off"
      spellcheck=${false}
      aria-invalid=${problem ? "true" : undefined}
      aria-describedby=${hint || problem ? `${id}-hint` : undefined}
      ...${rest}
    />
    ${(problem || hint) && html`<p id=${`${id}-hint`} class=${problem ? "problem" : "quiet"}>${problem || hint}</p>`}
  </div>`;
}
