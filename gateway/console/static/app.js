// The console: takes the session up again, listens to what happens, and shows the page of the address.
import { Layout } from "./components/layout.js";
import { Notices } from "./components/notice.js";
import { Page } from "./components/page.js";
import { Empty, Failure } from "./components/states.js";
import { connect, disconnect, liveWithin } from "./events.js";
import { effect, html, render, signal, useEffect } from "./lib.js";
import { pageOf } from "./pages.js";
import { WelcomePage } from "./pages/welcome.js";
import { address, replace, route } from "./router.js";
import { pair, restore, state } from "./session.js";
import { texts } from "./texts.js";

const LIVE_BEFORE_PAGES = 400; // milliseconds
const NEXT_ATTEMPT = 3000; // milliseconds
const ready = signal(false);
const failure = signal(null);

function App() {
  if (failure.value && state.value !== "open") return html`<${Unreachable} error=${failure.value} />`;
  if (state.value === "none") return html`<${WelcomePage} failed=${linkFailure} /><${Notices} />`;
  if (!ready.value) return null;
  return html`<${Layout}><${CurrentPage} /><//><${Notices} />`;
}

function CurrentPage() {
  const { parts, query } = route.value;
  const found = pageOf(parts);
  useEffect(() => {
    if (parts.length === 0) replace(["threads"]);
  });
  if (parts.length === 0) return null;
  if (!found) return html`<${Unknown} />`;
  return html`<${found.page} key=${parts[0]} params=${found.params} query=${query} />`;
}

function Unknown() {
  return html`<${Page} title=${texts.session.notFound}>
    <${Empty} icon="search" title=${texts.session.notFoundHint}>
      <a class="button" href=${address(["threads"])}>${texts.session.toThreads}</a>
    <//>
  <//>`;
}

function Unreachable({ error }) {
  return html`<main class="welcome">
    <div class="welcome-box">
      <h1>${texts.errors.startTitle}</h1>
      <${Failure} error=${error} retry=${begin} />
    </div>
  </main>`;
}

let linkFailure = null;

/** A link with a code, as `#/pair/<deviceId>/<code>`: used at once, and gone from the address before anything else. */
async function followPairingLink() {
  const [word, deviceId, code] = route.value.parts;
  if (word !== "pair") return false;
  replace([]);
  await pair(deviceId, code);
  return true;
}

let attempt = null;

/** Until somebody answers, again and again. */
async function begin() {
  clearTimeout(attempt);
  try {
    if (await followPairingLink()) return;
  } catch (error) {
    linkFailure = error;
  }
  try {
    await restore();
    failure.value = null;
  } catch (error) {
    failure.value = error;
    attempt = setTimeout(begin, NEXT_ATTEMPT);
  }
}

effect(() => {
  if (state.value === "open") {
    connect();
    liveWithin(LIVE_BEFORE_PAGES).then(() => (ready.value = true));
  } else {
    disconnect();
    ready.value = false;
  }
});

addEventListener("hashchange", () => route.value.parts[0] === "pair" && location.reload()); // a link that was pasted into an open page
render(html`<${App} />`, document.getElementById("app"));
begin();
