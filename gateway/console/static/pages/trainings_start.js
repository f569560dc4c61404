// The dialog that starts a training: good defaults, and the rest folded away.
import { create, get } from "../api.js";
import { Dialog } from "../components/dialog.js";
import { Loaded } from "../components/loaded.js";
import { Empty, Failure } from "../components/states.js";
import { html, useEffect, useId, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { address, go } from "../router.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";

const words = texts.trainingStart;
const MOST_EPOCHS = 20;
const LOOK_EVERY = 2000; // milliseconds

export function StartDialog({ onClose }) {
  const basis = useLoad(async (signal) => {
    const [system, samples] = await Promise.all([
      get("/api/system", undefined, { signal }),
      get("/api/training/samples", { pageSize: 1 }, { signal }),
    ]);
    return { system, samples: samples.total };
  });
  return html`<${Dialog} title=${words.title} onClose=${onClose}>
    <${Loaded} of=${basis} lines=${3}>${(data) => html`<${Choices} ...${data} reload=${basis.reload} onClose=${onClose} />`}<//>
  <//>`;
}

function Choices({ system, samples, reload, onClose }) {
  if (!system.baseModels.length) {
    return html`<${Away} reload=${reload} />`;
  }
  if (samples < system.fewestTrainingSamples) {
    return html`<${Empty} icon="samples" title=${words.tooFew} hint=${words.tooFewHint(samples, system.fewestTrainingSamples)}>
      <a class="button primary" href=${address(["samples"])}>${words.toSamples}</a>
    <//>`;
  }
  return html`<${Form} system=${system} samples=${samples} onClose=${onClose} />`;
}

/** Looks again by itself. */
function Away({ reload }) {
  useEffect(() => {
    const timer = setInterval(reload, LOOK_EVERY);
    return () => clearInterval(timer);
  }, [reload]);
  return html`<${Empty} icon="system" title=${words.away} hint=${words.awayHint} />`;
}

function Form({ system, samples, onClose }) {
  const serving = system.model?.name ?? system.baseModels[0].name;
  const [wanted, setWanted] = useState({ baseModel: serving, epochs: 3, learningRate: 0.0001, method: "sft" });
  const change = (name, value) => setWanted({ ...wanted, [name]: value });
  const task = useTask(async () => {
    const { job } = await create("/api/training/start", wanted);
    onClose();
    go(["trainings", job.id]);
  });
  const submit = (event) => (event.preventDefault(), task.run());
  return html`<form onSubmit=${submit}>
    <p>${words.lead(samples)}</p>
    <${Options} wanted=${wanted} change=${change} models=${system.baseModels} serving=${serving} />
    ${task.error && html`<${Failure} error=${task.error} />`}
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${onClose}>${texts.common.cancel}</button>
      <button class="button primary" disabled=${task.busy}>${task.busy ? words.starting : words.start}</button>
    </div>
  </form>`;
}

function Options({ wanted, change, models, serving }) {
  const id = useId();
  return html`<details class="options">
    <summary>${words.options}</summary>
    <div class="fields">
      <div class="field">
        <label for=${`${id}-model`}>${words.baseModel}</label>
        <select id=${`${id}-model`} value=${wanted.baseModel} onChange=${(event) => change("baseModel", event.target.value)}>
          ${models.map(({ name }) => html`<option key=${name} value=${name}>${name === serving ? words.servingModel(name) : name}</option>`)}
        </select>
        ${wanted.baseModel !== serving && html`<small>${words.otherModel(serving)}</small>`}
      </div>
      <div class="field">
        <label for=${`${id}-method`}>${words.method}</label>
        <select id=${`${id}-method`} value=${wanted.method} onChange=${(event) => change("method", event.target.value)}>
          <option value="sft">${words.methods.sft}</option>
          <option value="dpo">${words.methods.dpo}</option>
        </select>
      </div>
      <div class="field">
        <label for=${`${id}-epochs`}>${words.epochs}</label>
        <input id=${`${id}-epochs`} type="number" min="1" max=${MOST_EPOCHS} required value=${wanted.epochs} onInput=${(event) => change("epochs", Number(event.target.value))} />
        <small>${words.epochsHint}</small>
      </div>
      <div class="field">
        <label for=${`${id}-rate`}>${words.learningRate}</label>
        <input id=${`${id}-rate`} type="number" min="0.000001" max="0.01" step="any" required value=${wanted.learningRate} onInput=${(event) => change("learningRate", Number(event.target.value))} />
        <small>${words.learningRateHint}</small>
      </div>
    </div>
  </details>`;
}
