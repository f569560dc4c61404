import { html, useEffect, useRef } from "../lib.js";
import { texts } from "../texts.js";

/** One page: its heading, which has the focus after a change of the address, what can be done on it, and its content. */
export function Page({ title, actions, children }) {
  return html`<article class="page">
    <header class="page-head">
      <${Heading} title=${title} />
      ${actions && html`<div class="page-actions">${actions}</div>`}
    </header>
    ${children}
  </article>`;
}

/** A heading that names the document and takes the focus when it is new: so a screen reader says where one is. Not if it is `quiet`. */
export function Heading({ title, level = 1, quiet = false }) {
  const heading = useRef(null);
  useEffect(() => {
    if (!quiet) document.title = title === texts.product ? title : `${title} – ${texts.product}`;
  }, [title, quiet]);
  useEffect(() => {
    if (!quiet) heading.current.focus({ preventScroll: true });
  }, [quiet]);
  const tag = `h${level}`;
  return html`<${tag} ref=${heading} tabindex="-1">${title}<//>`;
}
