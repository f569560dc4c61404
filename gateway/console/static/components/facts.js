import { html } from "../lib.js";

/** Names with their values; those without a value are left out. `narrow`: all are short. */
export function Facts({ facts, narrow = false }) {
  const known = facts.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return html`<dl class=${narrow ? "facts narrow" : "facts"}>
    ${known.map(([name, value]) => html`<div key=${name}><dt>${name}</dt><dd>${value}</dd></div>`)}
  </dl>`;
}

/** A word on the state of something, coloured by `kind`: good, busy, bad, or plain. */
export function Chip({ kind = "plain", children }) {
  return html`<span class=${`badge ${kind}`}>${children}</span>`;
}
