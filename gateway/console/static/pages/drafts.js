// Every draft of the account, as they are written, and what became of them.
import { get, post } from "../api.js";
import { Icon } from "../components/icons.js";
import { MoreButton } from "../components/more_button.js";
import { notify } from "../components/notice.js";
import { Page } from "../components/page.js";
import { Empty, Failure, Loading } from "../components/states.js";
import { useEvents } from "../events.js";
import { short, whole } from "../format.js";
import { html, useState } from "../lib.js";
import { useLoad, usePages } from "../loading.js";
import { threadName } from "../names.js";
import { address } from "../router.js";
import { texts } from "../texts.js";

const words = texts.drafts;
const FILTERS = { all: null, queued: "queued", finished: "completed", failed: "failed", cancelled: "cancelled" };
const STATES = ["response:generating", "response:completed", "response:failed", "response:cancelled"];
const PAGE_SIZE = 30;

export function DraftsPage() {
  const [filter, setFilter] = useState("all");
  const drafts = usePages(
    async (page, signal) => {
      const answer = await get("/api/responses", { status: FILTERS[filter], page, pageSize: PAGE_SIZE }, { signal });
      return { items: answer.responses.map((draft) => ({ ...draft, id: draft.responseId })), total: answer.total };
    },
    [filter],
    { on: STATES },
  );
  const growing = useGrowing();
  const names = useThreadNames();
  return html`<${Page} title=${words.title} actions=${html`<${Filter} value=${filter} onChange=${setFilter} />`}>
    <${DraftList} ...${drafts} filter=${filter} growing=${growing} names=${names} />
  <//>`;
}

function Filter({ value, onChange }) {
  return html`<div class="segments" role="group" aria-label=${words.filter}>
    ${Object.keys(FILTERS).map(
      (name) => html`<button key=${name} type="button" aria-pressed=${name === value} onClick=${() => onChange(name)}>${words.filters[name]}</button>`,
    )}
  </div>`;
}

function DraftList({ data, error, loading, reload, more, filter, growing, names }) {
  if (!data) return error ? html`<${Failure} error=${error} retry=${reload} />` : html`<${Loading} lines=${8} />`;
  if (data.total === 0) {
    return filter === "all"
      ? html`<${Empty} icon="drafts" title=${words.empty} hint=${words.emptyHint}><a class="button" href=${address(["threads"])}>${texts.session.toThreads}</a><//>`
      : html`<${Empty} icon="drafts" title=${words.none} hint=${words.noneHint} />`;
  }
  return html`${error && html`<${Failure} error=${error} retry=${reload} />`}
    <ul class="list">
      ${data.items.map((draft) => html`<li key=${draft.id}><${DraftRow} draft=${draft} growing=${growing.get(draft.id)} thread=${names.get(draft.conversationId)} /></li>`)}
    </ul>
    ${data.items.length < data.total && html`<${MoreButton} text=${texts.common.showMore} load=${more} loading=${loading} />`}`;
}

function DraftRow({ draft, growing, thread }) {
  const text = draft.editedResponse ?? draft.response ?? growing ?? draft.error;
  const isOpen = draft.status === "queued" || draft.status === "generating";
  const href = address(["threads", draft.conversationId], { draft: draft.responseId });
  return html`<div class="draft-row">
    <p class="draft-row-head">
      <a href=${href} dir="auto">${thread ?? words.openThread}</a>
      <${Status} draft=${draft} />
      <time class="quiet" datetime=${draft.createdAt} title=${whole(draft.createdAt)}>${short(draft.createdAt)}</time>
    </p>
    <p class="draft-row-text" dir="auto" data-quiet=${!draft.response && !growing} data-struck=${draft.action === "reject"}>${text?.trim() || words.noText[draft.status]}</p>
    ${isOpen && html`<${Stop} responseId=${draft.responseId} />`}
  </div>`;
}

function Status({ draft }) {
  if (draft.action) return html`<span class=${`badge ${draft.action === "reject" ? "" : "good"}`}>${words.actions[draft.action]}</span>`;
  const kind = { failed: "bad", queued: "accent", generating: "accent" }[draft.status] ?? "";
  return html`<span class=${`badge ${kind}`}>${words.status[draft.status]}</span>`;
}

function Stop({ responseId }) {
  const [busy, setBusy] = useState(false);
  async function stop() {
    setBusy(true);
    try {
      await post(`/api/responses/${responseId}/cancel`);
    } catch (error) {
      if (error.status !== 409) notify(error.message); // else it has just ended by itself, and an event says so
      setBusy(false);
    }
  }
  return html`<button type="button" class="button" disabled=${busy} onClick=${stop}><${Icon} name="stop" />${words.cancel}</button>`;
}

/** The texts of drafts that are being written, by their ids: of each its first candidate, as far as it was heard from its beginning. */
function useGrowing() {
  const [texts, setTexts] = useState(new Map());
  useEvents(["response:token"], ({ type, data }) => {
    if (type !== "response:token" || data.index !== 0) return;
    setTexts((before) => {
      const known = before.get(data.responseId);
      return known === undefined && data.sequence > 0 ? before : new Map(before).set(data.responseId, (known ?? "") + data.text);
    });
  });
  return texts;
}

function useThreadNames() {
  const { data } = useLoad((signal) => get("/api/conversations", { pageSize: 100 }, { signal }), [], { on: ["sync:completed"] });
  return new Map((data?.conversations ?? []).map((conversation) => [conversation.id, threadName(conversation)]));
}
