// All trainings of the account, and the start of one.
import { get } from "../api.js";
import { Icon } from "../components/icons.js";
import { Chip } from "../components/facts.js";
import { Loaded } from "../components/loaded.js";
import { MoreButton } from "../components/more_button.js";
import { Page } from "../components/page.js";
import { Empty } from "../components/states.js";
import { moment } from "../format.js";
import { html, useEffect, useState } from "../lib.js";
import { usePages } from "../loading.js";
import { address, replace } from "../router.js";
import { texts } from "../texts.js";
import { outcome, runs, STATUS_KINDS, TRAINING_EVENTS } from "./training_words.js";
import { StartDialog } from "./trainings_start.js";

const words = texts.trainings;
const PAGE_SIZE = 20;

export function TrainingsPage({ query }) {
  const [starting, setStarting] = useState(query.get("start") === "open");
  useEffect(() => {
    if (query.has("start")) replace(["trainings"]); // so that going back does not open it again
  }, []);
  const jobs = usePages(
    async (page, signal) => {
      const answer = await get("/api/training/jobs", { page, pageSize: PAGE_SIZE }, { signal });
      return { items: answer.jobs, total: answer.total };
    },
    [],
    { on: TRAINING_EVENTS },
  );
  const actions = html`<button type="button" class="button primary" onClick=${() => setStarting(true)}>
    <${Icon} name="plus" />${words.start}
  </button>`;
  return html`<${Page} title=${words.title} actions=${actions}>
    <p class="lead">${words.lead}</p>
    <${Loaded} of=${jobs}>
      ${({ items, total }) =>
        total === 0
          ? html`<${Empty} icon="trainings" title=${words.empty} hint=${words.emptyHint}>
              <button type="button" class="button primary" onClick=${() => setStarting(true)}>${words.start}</button>
            <//>`
          : html`<ul class="cards" aria-label=${words.title}>
                ${items.map((job) => html`<${Row} key=${job.id} job=${job} />`)}
              </ul>
              ${items.length < total && html`<${MoreButton} text=${texts.common.showMore} load=${jobs.more} loading=${jobs.loading} />`}`}
    <//>
    ${starting && html`<${StartDialog} onClose=${() => setStarting(false)} />`}
  <//>`;
}

function Row({ job }) {
  return html`<li class="card training-row">
    <div class="card-head">
      <h2><a class="card-link" href=${address(["trainings", job.id])}>${words.of(moment(job.createdAt))}</a></h2>
      <${Chip} kind=${STATUS_KINDS[job.status]}>${words.status[job.status]}<//>
    </div>
    ${runs(job) && html`<progress max="100" value=${job.progress} aria-label=${words.progress}>${Math.round(job.progress)} %</progress>`}
    <p>${outcome(job)}</p>
    <footer class="card-foot">
      <span>${words.samples(job.sampleCount)}</span><span>${job.baseModel}</span>
    </footer>
  </li>`;
}
