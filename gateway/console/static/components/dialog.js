import { html, useId, useLayoutEffect, useRef } from "../lib.js";
import { texts } from "../texts.js";
import { Icon } from "./icons.js";

/** A modal dialog, open as long as it is rendered; Esc and its button call `onClose`. The browser keeps the focus inside, and gives it back. */
export function Dialog({ title, onClose, children }) {
  const dialog = useRef(null);
  const heading = useRef(null);
  const id = useId();
  useLayoutEffect(() => {
    const before = document.activeElement;
    const node = dialog.current;
    node.showModal();
    heading.current.focus();
    return () => {
      node.close(); // while it is open nothing outside of it takes the focus
      before?.focus?.();
    };
  }, []);
  return html`<dialog
    ref=${dialog}
    class="dialog"
    aria-labelledby=${id}
    onCancel=${(event) => (event.preventDefault(), onClose())}
    onClick=${(event) => event.target === dialog.current && onClose()}
  >
    <div class="dialog-box">
      <header class="dialog-head">
        <h2 id=${id} ref=${heading} tabindex="-1">${title}</h2>
        <button type="button" class="icon-button" aria-label=${texts.common.close} onClick=${onClose}><${Icon} name="close" /></button>
      </header>
      ${children}
    </div>
  </dialog>`;
}

/** Asks before something that cannot be taken back. `confirm` names what will happen; `onConfirm` may return a promise. */
export function Confirmation({ title, text, confirm, onConfirm, onClose, children, disabled = false, busy = false }) {
  return html`<${Dialog} title=${title} onClose=${onClose}>
    <p>${text}</p>
    ${children}
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${onClose}>${texts.common.cancel}</button>
      <button type="button" class="button danger" disabled=${disabled || busy} onClick=${onConfirm}>${confirm}</button>
    </div>
  <//>`;
}

/** All shortcuts. */
export function KeysDialog({ onClose }) {
  return html`<${Dialog} title=${texts.keys.title} onClose=${onClose}>
    ${texts.keys.groups.map(
      (group) => html`<section key=${group.title} class="keys">
        <h3>${group.title}</h3>
        <dl>
          ${group.keys.map(
            ([keys, meaning]) => html`<div key=${keys}>
              <dt>${keys.split(" ").filter(Boolean).map((key) => (/^[\w?/]+$/.test(key) ? html`<kbd key=${key}>${key}</kbd>` : key))}</dt>
              <dd>${meaning}</dd>
            </div>`,
          )}
        </dl>
      </section>`,
    )}
  <//>`;
}
