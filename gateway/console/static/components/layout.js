// The frame around every page: where one can go, whether it is live, and the keys that work everywhere.
import { connection } from "../events.js";
import { useKeys } from "../keys.js";
import { html, useState } from "../lib.js";
import { NAVIGATION } from "../pages.js";
import { address, go, route } from "../router.js";
import { signOut } from "../session.js";
import { texts } from "../texts.js";
import { Confirmation, KeysDialog } from "./dialog.js";
import { Icon } from "./icons.js";
import { Failure } from "./states.js";

const ON_A_PHONE = 3; // entries beside "More"

export function Layout({ children }) {
  const [dialog, setDialog] = useState(null);
  const close = () => setDialog(null);
  const pages = NAVIGATION.map(({ letter, path }) => [`g ${letter}`, () => go([path])]);
  useKeys({ "?": () => setDialog("keys"), ...Object.fromEntries(pages) });
  return html`<div class="layout">
    <${Sidebar} showKeys=${() => setDialog("keys")} showSignOut=${() => setDialog("signOut")} />
    <main id="content" tabindex="-1">
      ${connection.value === "reconnecting" && html`<div class="offline"><${Connection} /></div>`}
      ${children}
    </main>
    <${Tabs} />
    ${dialog === "keys" && html`<${KeysDialog} onClose=${close} />`}
    ${dialog === "signOut" && html`<${SignOut} onClose=${close} />`}
  </div>`;
}

/** Everything that does not fit into a phone's bar. */
export function MoreLinks() {
  const [leaving, setLeaving] = useState(false);
  return html`<ul class="more-links">
      ${NAVIGATION.slice(ON_A_PHONE).map((entry) => html`<li key=${entry.path}><${Entry} ...${entry} /></li>`)}
      <li><button type="button" class="nav-entry" onClick=${() => setLeaving(true)}><${Icon} name="signOut" />${texts.nav.signOut}</button></li>
    </ul>
    ${leaving && html`<${SignOut} onClose=${() => setLeaving(false)} />`}`;
}

function Sidebar({ showKeys, showSignOut }) {
  return html`<header class="sidebar">
    <a class="skip" href=${address(route.value.parts)} onClick=${skip}>${texts.nav.skip}</a>
    <p class="brand"><img src="/console/icon.svg" alt="" width="22" height="22" />${texts.product}</p>
    <nav aria-label=${texts.nav.label}>
      <ul>
        ${NAVIGATION.map((entry) => html`<li key=${entry.path}><${Entry} ...${entry} /></li>`)}
      </ul>
    </nav>
    <div class="sidebar-end">
      <button type="button" class="nav-entry" onClick=${showKeys}><${Icon} name="keys" />${texts.nav.keys}<kbd>?</kbd></button>
      <button type="button" class="nav-entry" onClick=${showSignOut}><${Icon} name="signOut" />${texts.nav.signOut}</button>
      <${Connection} />
    </div>
  </header>`;
}

function Tabs() {
  const isMore = !NAVIGATION.slice(0, ON_A_PHONE).some((entry) => entry.path === route.value.parts[0]);
  return html`<nav class="tabs" aria-label=${texts.nav.label}>
    ${NAVIGATION.slice(0, ON_A_PHONE).map((entry) => html`<${Entry} key=${entry.path} ...${entry} />`)}
    <a class="nav-entry" href=${address(["more"])} aria-current=${isMore ? "page" : undefined}><${Icon} name="more" />${texts.nav.more}</a>
  </nav>`;
}

function Entry({ path, icon, title }) {
  const current = route.value.parts[0] === path;
  return html`<a class="nav-entry" href=${address([path])} aria-current=${current ? "page" : undefined}><${Icon} name=${icon} />${title}</a>`;
}

/** Whether what is shown is what is. */
export function Connection() {
  return html`<p class="connection" data-state=${connection.value} role="status">
    <span class="connection-dot" />${texts.connection[connection.value]}
  </p>`;
}

function SignOut({ onClose }) {
  const [error, setError] = useState(null);
  return html`<${Confirmation}
    title=${texts.session.signOutTitle}
    text=${texts.session.signOutText}
    confirm=${texts.nav.signOut}
    onConfirm=${() => signOut().catch(setError)}
    onClose=${onClose}
  >
    ${error && html`<${Failure} error=${error} />`}
  <//>`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("content").focus();
}
