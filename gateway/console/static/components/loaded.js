import { html } from "../lib.js";
import { Failure, Loading } from "./states.js";

/** What `useLoad` gave: its data by `children(data)`, or what a page shows without. Data that is there stays while it is asked for again. */
export function Loaded({ of, lines, children }) {
  const { data, error, reload } = of;
  if (data) return html`${error && html`<${Failure} error=${error} retry=${reload} />`}${children(data)}`;
  return error ? html`<${Failure} error=${error} retry=${reload} />` : html`<${Loading} lines=${lines} />`;
}
