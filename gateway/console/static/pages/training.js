// One training: how far it is, its loss curve as it grows, what came of it, and drafts before and after.
import { get, post, request } from "../api.js";
import { LossCurve } from "../components/curve.js";
import { Confirmation } from "../components/dialog.js";
import { Chip, Facts } from "../components/facts.js";
import { Icon } from "../components/icons.js";
import { Loaded } from "../components/loaded.js";
import { notify } from "../components/notice.js";
import { Page } from "../components/page.js";
import { Failure } from "../components/states.js";
import { save } from "../files.js";
import { duration, moment } from "../format.js";
import { html, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { address } from "../router.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";
import { improvement, outcome, runs, STATUS_KINDS, TRAINING_EVENTS } from "./training_words.js";

const words = texts.trainings;

export function TrainingPage({ params: { jobId } }) {
  const job = useLoad((signal) => get(`/api/training/jobs/${jobId}`, undefined, { signal }).then((answer) => answer.job), [jobId], {
    on: TRAINING_EVENTS,
    when: ({ data }) => data.id === jobId,
  });
  const title = job.data ? words.of(moment(job.data.createdAt)) : words.one;
  const actions = job.data && html`<${Actions} job=${job.data} onChange=${job.reload} />`;
  return html`<${Page} title=${title} actions=${actions}>
    <p class="up-link"><a href=${address(["trainings"])}><${Icon} name="back" />${words.all}</a></p>
    <${Loaded} of=${job}>${(data) => html`<${Job} job=${data} />`}<//>
  <//>`;
}

function Actions({ job, onChange }) {
  const [cancelling, setCancelling] = useState(false);
  const cancel = useTask(async () => {
    await post(`/api/training/jobs/${job.id}/cancel`);
    setCancelling(false);
    onChange();
  });
  const report = useTask(async () => {
    const answer = await request("GET", `/api/training/jobs/${job.id}/report`);
    save(await answer.blob(), `training-${job.createdAt.slice(0, 10)}.html`);
    notify(words.reportSaved);
  });
  if (runs(job)) {
    return html`<button type="button" class="button" onClick=${() => setCancelling(true)}><${Icon} name="stop" />${words.cancel}</button>
      ${cancelling &&
      html`<${Confirmation}
        title=${words.cancelTitle}
        text=${words.cancelText}
        confirm=${words.cancel}
        busy=${cancel.busy}
        onConfirm=${cancel.run}
        onClose=${() => setCancelling(false)}
      >
        ${cancel.error && html`<${Failure} error=${cancel.error} />`}
      <//>`}`;
  }
  return html`<button type="button" class="button" disabled=${report.busy} title=${words.reportHint} onClick=${report.run}>
      <${Icon} name="file" />${words.saveReport}
    </button>
    ${report.error && html`<${Failure} error=${report.error} />`}`;
}

function Job({ job }) {
  return html`<section class="card outcome" data-kind=${STATUS_KINDS[job.status]} role="status">
      <${Chip} kind=${STATUS_KINDS[job.status]}>${words.status[job.status]}<//>
      <p class="outcome-words">${outcome(job)}</p>
      ${runs(job) && html`<${Progress} job=${job} />`}
      ${job.status === "completed" && html`<${Result} job=${job} />`}
    </section>
    ${job.history.length > 1 &&
    html`<section class="card">
      <h2>${words.curve}</h2>
      <${LossCurve} history=${job.history} totalSteps=${job.totalSteps} before=${job.baselineEvalLoss} after=${job.evalLoss} />
    </section>`}
    ${job.status === "completed" && html`<${Comparison} jobId=${job.id} />`}
    <section class="card">
      <h2>${words.details}</h2>
      <${Facts}
        facts=${[
          [words.facts.samples, job.sampleCount.toLocaleString("en")],
          [words.facts.model, job.baseModel],
          [words.facts.method, texts.trainingStart.methods[job.method]],
          [words.facts.epochs, job.epochs],
          [words.facts.learningRate, job.learningRate],
          [words.facts.took, job.startedAt && job.completedAt && duration(job.startedAt, job.completedAt)],
          [words.facts.memory, job.peakMemoryMib && `${(job.peakMemoryMib / 1024).toFixed(1)} GiB`],
        ]}
      />
    </section>`;
}

function Progress({ job }) {
  return html`<progress max="100" value=${job.progress} aria-label=${words.progress}>${Math.round(job.progress)} %</progress>
    <p class="quiet">${words.howFar(Math.round(job.progress), job.step, job.totalSteps)}</p>`;
}

/** The held-out losses, and what the gateway says about using the adapter. */
function Result({ job }) {
  const share = improvement(job);
  return html`<div class="result">
    ${share !== null &&
    html`<p class="result-figure">
      <span class="result-before">${job.baselineEvalLoss.toFixed(2)}</span><span aria-hidden="true">→</span>
      <strong>${job.evalLoss.toFixed(2)}</strong>
      <span class="quiet">${words.heldOut(share)}</span>
    </p>`}
    ${!job.activated && job.activationNote && html`<p>${job.activationNote}.</p>`}
    ${job.adapterId && html`<p><a href=${address(["adapters"])}>${words.toAdapters}</a></p>`}
  </div>`;
}

function Comparison({ jobId }) {
  const comparison = useLoad((signal) => get(`/api/training/jobs/${jobId}/comparison`, undefined, { signal }), [jobId]);
  if (comparison.data && !comparison.data.drafts.length) return null;
  return html`<section class="card">
    <h2>${words.comparison}</h2>
    <${Loaded} of=${comparison}>
      ${({ drafts, evalSamples }) => html`<p class="quiet">${words.comparisonHint(evalSamples)}</p>
        <ul class="comparisons">
          ${drafts.map(
            (draft, number) => html`<li key=${number}>
              <p class="sample-input"><span class="sample-label">${texts.samples.input}</span>${draft.input}</p>
              <dl class="versions">
                <div><dt>${words.youWrote}</dt><dd>${draft.expected}</dd></div>
                <div><dt>${words.before}</dt><dd>${draft.before}</dd></div>
                <div data-kind="good"><dt>${words.after}</dt><dd>${draft.after}</dd></div>
              </dl>
            </li>`,
          )}
        </ul>`}
    <//>
  </section>`;
}
