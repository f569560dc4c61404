import { Connection, MoreLinks } from "../components/layout.js";
import { Page } from "../components/page.js";
import { html } from "../lib.js";
import { texts } from "../texts.js";

/** On a phone: the pages that its bar has no room for. */
export function MorePage() {
  return html`<${Page} title=${texts.more.title}>
    <${MoreLinks} />
    <${Connection} />
  <//>`;
}
