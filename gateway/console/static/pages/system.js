// The installation: what serves, what waits, and what is away.
import { get } from "../api.js";
import { Chip, Facts } from "../components/facts.js";
import { Loaded } from "../components/loaded.js";
import { Page } from "../components/page.js";
import { html, useEffect } from "../lib.js";
import { useLoad } from "../loading.js";
import { texts } from "../texts.js";

const words = texts.system;
const LOOK_EVERY = 2000; // milliseconds, while somebody looks
const KINDS = { ready: "good", loading: "busy", reloading: "busy", rebuilding: "busy", sleeping: "busy", stopped: "bad", away: "bad" };

export function SystemPage() {
  const system = useLoad((signal) => get("/api/system", undefined, { signal }));
  useEffect(() => {
    const timer = setInterval(() => document.visibilityState === "visible" && system.reload(), LOOK_EVERY);
    return () => clearInterval(timer);
  }, []);
  return html`<${Page} title=${words.title}>
    <p class="lead">${words.lead}</p>
    <${Loaded} of=${system}>${(data) => html`<${Engine} ...${data} /><${Parts} ...${data} /><${Models} ...${data} />`}<//>
  <//>`;
}

function Engine({ engine, model, queueLength }) {
  return html`<section class="card" role="status">
    <div class="card-head">
      <h2>${words.engine}</h2>
      <${Chip} kind=${KINDS[engine]}>${words.engines[engine].title}<//>
    </div>
    <p>${words.engines[engine].text}</p>
    ${model &&
    html`<${Facts}
      facts=${[
        [words.model, model.name],
        [words.parameters, words.parameterCount(model.parameters)],
        [words.contextLength, words.tokens(model.contextLength)],
        [words.queue, words.waiting(queueLength)],
      ]}
    />`}
  </section>`;
}

function Parts({ database, redis, engine, version }) {
  const parts = [
    ["gateway", true],
    ["database", database],
    ["redis", redis],
    ["mlService", engine !== "away"],
  ];
  return html`<section class="card">
    <h2>${words.parts}</h2>
    <ul class="health">
      ${parts.map(
        ([part, well]) => html`<li key=${part}>
          <span class="health-words"><strong>${words.names[part]}</strong><span class="quiet">${well ? words.purposes[part] : words.without[part]}</span></span>
          <${Chip} kind=${well ? "good" : "bad"}>${well ? words.well : words.away}<//>
        </li>`,
      )}
    </ul>
    <p class="quiet">${words.version(version)} <a href="/docs">${words.docs}</a></p>
  </section>`;
}

function Models({ baseModels }) {
  if (!baseModels.length) return null;
  return html`<section class="card">
    <h2>${words.catalogue}</h2>
    <ul class="models">
      ${baseModels.map(
        (model) => html`<li key=${model.name}>
          <strong>${model.name}</strong>
          <span class="quiet">${model.description}</span>
          <span class="quiet">${words.parameterCount(model.parameters)}, ${words.tokens(model.contextLength)}</span>
        </li>`,
      )}
    </ul>
  </section>`;
}
