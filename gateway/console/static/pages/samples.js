// What the assistant learns from: the account's samples, and the import of past replies.
import { get, remove } from "../api.js";
import { Confirmation } from "../components/dialog.js";
import { Chip } from "../components/facts.js";
import { Icon } from "../components/icons.js";
import { Loaded } from "../components/loaded.js";
import { MoreButton } from "../components/more_button.js";
import { notify } from "../components/notice.js";
import { Page } from "../components/page.js";
import { Empty, Failure } from "../components/states.js";
import { short, whole } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { usePages } from "../loading.js";
import { address, replace } from "../router.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";
import { ImportDialog } from "./samples_import.js";

const words = texts.samples;
const PAGE_SIZE = 50;
const SOURCES = ["accept", "edit", "reject", "history"];
const KINDS = { accept: "good", edit: "good", reject: "bad", history: "plain" };

export function SamplesPage({ query }) {
  const source = SOURCES.includes(query.get("source")) ? query.get("source") : null;
  const [importing, setImporting] = useState(query.get("import") === "open");
  const [imports, setImports] = useState(0);
  useEffect(() => {
    if (query.has("import")) replace(["samples"]); // so that going back does not open it again
  }, []);
  const startImport = () => setImporting(true);
  const imported = ({ imported: count }) => {
    setImporting(false);
    setImports(imports + 1);
    notify(words.imported(count));
  };
  const actions = html`<button type="button" class="button primary" onClick=${startImport}><${Icon} name="plus" />${words.import}</button>`;
  return html`<${Page} title=${words.title} actions=${actions}>
    <p class="lead">${words.lead}</p>
    <${SourceFilter} source=${source} />
    <${SampleList} key=${`${source} ${imports}`} source=${source} startImport=${startImport} />
    ${importing && html`<${ImportDialog} onImported=${imported} onClose=${() => setImporting(false)} />`}
  <//>`;
}

function SampleList({ source, startImport }) {
  const [doomed, setDoomed] = useState(null);
  const samples = usePages(async (page, signal) => {
    const answer = await get("/api/training/samples", { source, page, pageSize: PAGE_SIZE }, { signal });
    return { items: answer.samples, total: answer.total };
  });
  return html`<${Loaded} of=${samples} lines=${8}>
      ${({ items, total }) =>
        total === 0
          ? html`<${Nothing} source=${source} startImport=${startImport} />`
          : html`<p class="quiet" role="status">${words.count(total)}</p>
              <ul class="cards" aria-label=${words.title}>
                ${items.map((sample) => html`<${Sample} key=${sample.id} sample=${sample} onDelete=${() => setDoomed(sample)} />`)}
              </ul>
              ${items.length < total && html`<${MoreButton} text=${texts.common.showMore} load=${samples.more} loading=${samples.loading} />`}`}
    <//>
    ${doomed && html`<${Deletion} sample=${doomed} onDeleted=${samples.reload} onClose=${() => setDoomed(null)} />`}`;
}

function SourceFilter({ source }) {
  return html`<nav class="filter" aria-label=${words.filter}>
    ${[null, ...SOURCES].map(
      (each) => html`<a key=${each} href=${address(["samples"], { source: each })} aria-current=${each === source ? "page" : undefined}>
        ${each ? words.sources[each] : words.all}
      </a>`,
    )}
  </nav>`;
}

function Nothing({ source, startImport }) {
  if (source) return html`<${Empty} icon="samples" title=${words.noneOfSource} hint=${words.hintOfSource[source]} />`;
  return html`<${Empty} icon="samples" title=${words.empty} hint=${words.emptyHint}>
    <button type="button" class="button primary" onClick=${startImport}>${words.import}</button>
    <a href=${address(["bring"])}>${words.bring}</a>
  <//>`;
}

function Sample({ sample, onDelete }) {
  const { input, output, rejectedOutput, source, repliedAt, conversationId } = sample;
  return html`<li class="card sample">
    <p class="sample-input"><span class="sample-label">${words.input}</span>${input || words.noInput}</p>
    ${output !== null && html`<p class="sample-output"><span class="sample-label">${words.output}</span>${output}</p>`}
    ${rejectedOutput !== null && html`<p class="sample-rejected"><span class="sample-label">${words.rejected}</span>${rejectedOutput}</p>`}
    <footer class="card-foot">
      <${Chip} kind=${KINDS[source]}>${words.sources[source]}<//>
      <time datetime=${repliedAt} title=${whole(repliedAt)}>${short(repliedAt)}</time>
      ${conversationId && html`<a href=${address(["threads", conversationId])}>${words.openThread}</a>`}
      <button type="button" class="icon-button" aria-label=${words.deleteThis(input)} title=${texts.common.delete} onClick=${onDelete}>
        <${Icon} name="trash" />
      </button>
    </footer>
  </li>`;
}

function Deletion({ sample, onDeleted, onClose }) {
  const task = useTask(async () => {
    await remove(`/api/training/samples/${sample.id}`);
    notify(words.deleted);
    onDeleted();
    onClose();
  });
  return html`<${Confirmation}
    title=${words.deleteTitle}
    text=${words.deleteText}
    confirm=${texts.common.delete}
    busy=${task.busy}
    onConfirm=${task.run}
    onClose=${onClose}
  >
    ${task.error && html`<${Failure} error=${task.error} />`}
  <//>`;
}
