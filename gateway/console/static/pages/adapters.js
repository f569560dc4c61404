// The personal adapters: which one writes the drafts, and the way to another one or back.
import { get, post, remove } from "../api.js";
import { Confirmation } from "../components/dialog.js";
import { Chip } from "../components/facts.js";
import { Icon } from "../components/icons.js";
import { Loaded } from "../components/loaded.js";
import { notify } from "../components/notice.js";
import { Page } from "../components/page.js";
import { Empty, Failure } from "../components/states.js";
import { moment } from "../format.js";
import { html, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { address } from "../router.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";
import { improvement } from "./training_words.js";

const words = texts.adapters;
const ADAPTERS = "/api/training/adapters";
const STATUS_KINDS = { ready: "plain", set_aside: "plain", missing: "bad", unknown: "plain" };

export function AdaptersPage() {
  const [doomed, setDoomed] = useState(null);
  const adapters = useLoad((signal) => get(ADAPTERS, undefined, { signal }), [], { on: ["training:completed"] });
  const use = useTask(async (adapter) => {
    await post(adapter ? `${ADAPTERS}/${adapter.id}/activate` : `${ADAPTERS}/deactivate`);
    await adapters.reload();
    notify(adapter ? words.nowInUse(moment(adapter.createdAt)) : words.baseInUse);
  });
  return html`<${Page} title=${words.title}>
    <p class="lead">${words.lead}</p>
    ${use.error && html`<${Failure} error=${use.error} />`}
    <${Loaded} of=${adapters}>
      ${({ adapters: list }) =>
        list.length === 0
          ? html`<${Empty} icon="voice" title=${words.empty} hint=${words.emptyHint}>
              <a class="button primary" href=${address(["trainings"])}>${words.toTrainings}</a>
            <//>`
          : html`<${InUse} active=${list.find((adapter) => adapter.active)} use=${use} />
              <ul class="cards" aria-label=${words.title}>
                ${list.map((adapter) => html`<${Adapter} key=${adapter.id} adapter=${adapter} all=${list} use=${use} onDelete=${() => setDoomed(adapter)} />`)}
              </ul>`}
    <//>
    ${doomed && html`<${Deletion} adapter=${doomed} onDeleted=${adapters.reload} onClose=${() => setDoomed(null)} />`}
  <//>`;
}

/** What drafts are written with now. */
function InUse({ active, use }) {
  return html`<section class="card in-use" role="status">
    <div>
      <p class="in-use-words">${active ? words.writtenWith(moment(active.createdAt)) : words.writtenWithBase}</p>
      ${active && active.status !== "ready" && html`<p class="quiet">${words.passedOver[active.status]}</p>`}
    </div>
    ${active && html`<button type="button" class="button" disabled=${use.busy} onClick=${() => use.run(null)}>${words.useBase}</button>`}
  </section>`;
}

function Adapter({ adapter, all, use, onDelete }) {
  const { id, createdAt, jobId, active, stale, status, baseModel } = adapter;
  const share = improvement(adapter);
  const inUse = all.find((each) => each.active);
  const older = inUse && new Date(createdAt) < new Date(inUse.createdAt);
  return html`<li class="card adapter" data-active=${active ? "" : undefined}>
    <div class="card-head">
      <h2>${words.of(moment(createdAt))}</h2>
      ${active && html`<${Chip} kind="good">${words.active}<//>`}
      ${stale && html`<${Chip} kind="bad">${words.stale}<//>`}
      ${status !== "ready" && html`<${Chip} kind=${STATUS_KINDS[status]}>${words.status[status]}<//>`}
    </div>
    <p class="result-figure">
      <span class="result-before">${adapter.baselineEvalLoss.toFixed(2)}</span><span aria-hidden="true">→</span>
      <strong>${adapter.evalLoss.toFixed(2)}</strong>
      <span class="quiet">${texts.trainings.heldOut(share)}</span>
    </p>
    ${stale && html`<p class="quiet">${words.staleHint}</p>`}
    <footer class="card-foot">
      <span>${baseModel}</span>
      <a href=${address(["trainings", jobId])}>${words.toTraining}</a>
      <span class="card-actions">
        ${!active &&
        status !== "missing" &&
        html`<button type="button" class="button" disabled=${use.busy} onClick=${() => use.run(adapter)}>${older ? words.rollBack : words.use}</button>`}
        <button type="button" class="icon-button" aria-label=${words.deleteThis(moment(createdAt))} title=${texts.common.delete} onClick=${onDelete}>
          <${Icon} name="trash" />
        </button>
      </span>
    </footer>
  </li>`;
}

function Deletion({ adapter, onDeleted, onClose }) {
  const task = useTask(async () => {
    await remove(`${ADAPTERS}/${adapter.id}`);
    notify(words.deleted);
    onDeleted();
    onClose();
  });
  return html`<${Confirmation}
    title=${words.deleteTitle}
    text=${adapter.active ? words.deleteActive : words.deleteText}
    confirm=${texts.common.delete}
    busy=${task.busy}
    onConfirm=${task.run}
    onClose=${onClose}
  >
    ${task.error && html`<${Failure} error=${task.error} />`}
  <//>`;
}
