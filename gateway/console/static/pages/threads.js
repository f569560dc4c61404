// All threads, found by names and by what was said in them; beside them the one that is open.
import { get } from "../api.js";
import { Avatar } from "../components/avatar.js";
import { ExampleButton, ExampleNote } from "../components/example.js";
import { Icon } from "../components/icons.js";
import { MoreButton } from "../components/more_button.js";
import { Heading } from "../components/page.js";
import { GettingStarted } from "../components/started.js";
import { Empty, Failure, Loading } from "../components/states.js";
import { isExample } from "../example.js";
import { short } from "../format.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useId, useRef, useState } from "../lib.js";
import { useLoad, usePages } from "../loading.js";
import { senderName, threadName } from "../names.js";
import { address } from "../router.js";
import { texts } from "../texts.js";
import { Thread } from "./thread.js";

const words = texts.threads;
const TYPING_PAUSE = 200; // milliseconds
const PAGE_SIZE = 40;

export function ThreadsPage({ params, query }) {
  const chosen = params.conversationId ?? null;
  return html`<div class="threads" data-open=${Boolean(chosen)}>
    <${Sidelist} chosen=${chosen} />
    <section class="thread-pane" aria-label=${texts.thread.pane}>
      ${chosen
        ? html`<${Thread} key=${chosen} conversationId=${chosen} messageId=${query.get("message")} draftId=${query.get("draft")} />`
        : html`<${Empty} icon="threads" title=${words.choose} hint=${words.chooseHint} />`}
    </section>
  </div>`;
}

function Sidelist({ chosen }) {
  const [typed, setTyped] = useState("");
  const [changes, setChanges] = useState(0); // that no event tells of
  const search = useSettled(typed.trim());
  return html`<section class="thread-list" aria-label=${words.title}>
    <header class="thread-list-head">
      <${Heading} title=${words.title} quiet=${Boolean(chosen)} />
      <${GettingStarted} version=${`${chosen} ${changes}`} />
      <${SearchField} value=${typed} onInput=${setTyped} />
    </header>
    <div class="thread-list-body" onKeyDown=${moveWithArrows}>
      ${search ? html`<${Found} key=${search} search=${search} chosen=${chosen} />` : html`<${AllThreads} chosen=${chosen} onRemoved=${() => setChanges(changes + 1)} />`}
    </div>
  </section>`;
}

function SearchField({ value, onInput }) {
  const field = useRef(null);
  const id = useId();
  useKeys({ "/": () => field.current.focus() });
  return html`<div class="search">
    <label class="visually-hidden" for=${id}>${words.search}</label>
    <${Icon} name="search" />
    <input
      ref=${field}
      id=${id}
      type="search"
      class="input"
      placeholder=${words.search}
      value=${value}
      maxlength="200"
      onInput=${(event) => onInput(event.target.value)}
      onKeyDown=${(event) => event.key === "Escape" && (value ? onInput("") : field.current.blur())}
    />
    ${value && html`<button type="button" class="icon-button" aria-label=${words.clearSearch} onClick=${() => (onInput(""), field.current.focus())}><${Icon} name="close" /></button>`}
  </div>`;
}

function useThreads(q) {
  return usePages(
    async (page, signal) => {
      const answer = await get("/api/conversations", { q, page, pageSize: PAGE_SIZE }, { signal });
      return { items: answer.conversations, total: answer.total };
    },
    [q],
    { on: ["sync:completed", "conversation:merged"] },
  );
}

function AllThreads({ chosen, onRemoved }) {
  const { data, error, loading, reload, more } = useThreads(null);
  if (!data) return error ? html`<${Failure} error=${error} retry=${reload} />` : html`<${Loading} lines=${8} />`;
  if (data.total === 0) return html`<${Nothing} />`;
  return html`<${Rows} conversations=${data.items} chosen=${chosen} />
    ${data.items.length < data.total && html`<${MoreButton} text=${texts.common.showMore} load=${more} loading=${loading} />`}
    ${data.items.some(isExample) && html`<${ExampleNote} onRemoved=${() => (reload(), onRemoved())} />`}`;
}

function Nothing() {
  return html`<${Empty} icon="threads" title=${words.empty} hint=${words.emptyHint}>
    <a class="button primary" href=${address(["bring"])}>${words.bring}</a>
    <${ExampleButton} />
    <a href=${address(["devices"])}>${words.addDevice}</a>
  <//>`;
}

function Found({ search, chosen }) {
  const threads = useThreads(search);
  const messages = useLoad((signal) => get("/api/messages/search", { q: search, pageSize: 50 }, { signal }), [search]);
  const [names, hits] = [threads.data, messages.data];
  if (names?.total === 0 && hits?.total === 0) {
    return html`<${Empty} icon="search" title=${words.nothingFound(search)} hint=${words.nothingFoundHint} />`;
  }
  return html`
    ${names?.total > 0 && html`<h2 class="list-title">${words.people}</h2><${Rows} conversations=${names.items} chosen=${chosen} />`}
    ${hits?.total > 0 && html`<h2 class="list-title">${words.found(hits.total)}</h2><${Hits} messages=${hits.messages} />`}
    ${threads.error && html`<${Failure} error=${threads.error} retry=${threads.reload} />`}
    ${messages.error && html`<${Failure} error=${messages.error} retry=${messages.reload} />`}
    ${(!names || !hits) && !threads.error && !messages.error && html`<${Loading} lines=${4} />`}
  `;
}

function Rows({ conversations, chosen }) {
  return html`<ul>
    ${conversations.map((conversation) => html`<li key=${conversation.id}><${Row} conversation=${conversation} chosen=${conversation.id === chosen} /></li>`)}
  </ul>`;
}

function Row({ conversation, chosen }) {
  const name = threadName(conversation);
  return html`<a class="thread-row" href=${address(["threads", conversation.id])} aria-current=${chosen ? "true" : undefined}>
    <${Avatar} name=${name} group=${conversation.isGroup} />
    <span class="thread-row-name" dir="auto">${name}</span>
    <span class="thread-row-time">${conversation.lastMessageAt && short(conversation.lastMessageAt)}</span>
    <span class="thread-row-preview" dir="auto">${conversation.lastMessagePreview || words.noMessages}</span>
  </a>`;
}

function Hits({ messages }) {
  return html`<ul>
    ${messages.map(
      (message) => html`<li key=${message.id}>
        <a class="thread-row hit" href=${address(["threads", message.conversationId], { message: message.id })}>
          <span class="thread-row-name" dir="auto">${senderName(message)}</span>
          <span class="thread-row-time">${short(message.sentAt)}</span>
          <span class="thread-row-preview" dir="auto">${message.text}</span>
        </a>
      </li>`,
    )}
  </ul>`;
}

/** What was typed, once nobody types on; nothing at once. */
function useSettled(value) {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), value ? TYPING_PAUSE : 0);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

function moveWithArrows(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!step) return;
  const links = [...event.currentTarget.querySelectorAll("a")];
  const next = links[links.indexOf(document.activeElement) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
}
