// One thread: its messages, and the draft of a reply below them.
import { get } from "../api.js";
import { Avatar } from "../components/avatar.js";
import { DraftDock } from "../components/draft_dock.js";
import { Icon } from "../components/icons.js";
import { MessageList } from "../components/message.js";
import { MoreButton } from "../components/more_button.js";
import { notify } from "../components/notice.js";
import { Heading } from "../components/page.js";
import { Empty, Failure, Loading } from "../components/states.js";
import { useDraft } from "../drafting.js";
import { useEvents } from "../events.js";
import { useKeys } from "../keys.js";
import { html, useEffect, useLayoutEffect, useRef, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { answerable, shown, useMessages } from "../messages.js";
import { threadName } from "../names.js";
import { address, replace } from "../router.js";
import { texts } from "../texts.js";

const words = texts.thread;
const NEAR_THE_END = 80; // pixels

/** `messageId` is one to be shown, `draftId` a draft to be shown. */
export function Thread({ conversationId, messageId, draftId }) {
  const about = useLoad((signal) => get(`/api/conversations/${conversationId}`, {}, { signal }), [conversationId], {
    on: ["sync:completed", "conversation:merged"],
    when: ({ data }) => data.conversationId === conversationId || data.formerId === conversationId,
  });
  const { messages, cursor, error, loadingOlder, reload, loadOlder } = useMessages(conversationId, messageId);
  const draft = useDraft();
  useEvents(["conversation:merged"], ({ data }) => data.formerId === conversationId && replace(["threads", data.conversationId]));
  useOpenDraft(draft, conversationId, draftId, messages);
  useKeys({
    j: () => moveThroughMessages(1),
    k: () => moveThroughMessages(-1),
  });

  if (about.error?.status === 404) return html`<${Gone} />`;
  const visible = messages && shown(messages);
  const answered = visible && lastAnswerable(visible);
  const peer = about.data && !about.data.isGroup ? threadName(about.data) : null;
  return html`<div class="thread">
    <${Head} conversation=${about.data} />
    ${error && html`<${Failure} error=${error} retry=${reload} />`}
    ${!visible && !error && html`<${Loading} lines=${7} />`}
    ${visible &&
    html`<${Scroller} messages=${visible} targetId=${messageId}>
      ${cursor
        ? html`<${MoreButton} text=${words.older} load=${loadOlder} loading=${loadingOlder} />`
        : visible.length > 0 && html`<p class="beginning">${words.beginning}</p>`}
      ${visible.length === 0
        ? html`<${Empty} icon="threads" title=${words.empty} hint=${words.emptyHint} />`
        : html`<${MessageList}
            messages=${visible}
            isGroup=${about.data?.isGroup ?? false}
            peer=${peer}
            chosenId=${draft.message?.id ?? messageId}
            onDraft=${(message) => draft.write(message, 1)}
          />`}
    <//>`}
    ${visible && html`<${DraftDock} draft=${draft} peer=${peer} answered=${answered} chosen=${() => focusedMessage(visible)} />`}
  </div>`;
}

function Head({ conversation }) {
  const name = conversation ? threadName(conversation) : "";
  const people = conversation?.isGroup && conversation.displayName ? conversation.participants.map((each) => each.displayName).join(", ") : "";
  return html`<header class="thread-head">
    <a class="icon-button back" href=${address(["threads"])} aria-label=${words.back}><${Icon} name="back" /></a>
    ${conversation &&
    html`<${Avatar} name=${name} group=${conversation.isGroup} />
      <div class="thread-head-names">
        <${Heading} title=${name} level=${2} />
        <p class="quiet">${people || words.messageCount(conversation.messageCount)}</p>
      </div>`}
  </header>`;
}

function Gone() {
  return html`<${Empty} icon="search" title=${texts.session.notFound} hint=${texts.session.notFoundHint}>
    <a class="button" href=${address(["threads"])}>${texts.session.toThreads}</a>
  <//>`;
}

/** Stays at the newest message if it was there, and where it was when older ones come in above. */
function Scroller({ messages, targetId, children }) {
  const box = useRef(null);
  const view = useRef({ atEnd: true, firstId: null, height: 0 });
  const [away, setAway] = useState(false);

  function look() {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    view.current.atEnd = scrollHeight - scrollTop - clientHeight < NEAR_THE_END;
    setAway(!view.current.atEnd);
  }
  const toEnd = () => (box.current.scrollTop = box.current.scrollHeight);

  useLayoutEffect(() => {
    const { atEnd, firstId, height } = view.current;
    const newFirst = messages[0]?.id ?? null;
    if (firstId && newFirst !== firstId && !atEnd) box.current.scrollTop += box.current.scrollHeight - height;
    else if (atEnd) toEnd();
    view.current = { ...view.current, firstId: newFirst, height: box.current.scrollHeight };
  }, [messages]);

  useEffect(() => {
    const node = box.current;
    const resized = new ResizeObserver(() => view.current.atEnd && (node.scrollTop = node.scrollHeight));
    resized.observe(node);
    return () => resized.disconnect();
  }, []);

  useEffect(() => {
    if (!targetId) return;
    const found = document.getElementById(`message-${targetId}`);
    if (found) found.scrollIntoView({ block: "center" });
    else notify(words.notFoundMessage);
  }, [targetId]);

  return html`<div class="scroller-frame">
    <div ref=${box} class="scroller" tabindex="0" role="region" aria-label=${words.messages} onScroll=${look}>${children}</div>
    ${away &&
    html`<button type="button" class="icon-button to-end" aria-label=${words.latest} title=${words.latest} onClick=${toEnd}><${Icon} name="down" /></button>`}
  </div>`;
}

/** The draft that the address names; else one of the last message that nobody has judged, so that leaving loses nothing. */
function useOpenDraft(draft, conversationId, draftId, messages) {
  const loaded = messages !== null;
  useEffect(() => {
    if (!loaded) return;
    const byId = (id) => messages.find((message) => message.id === id) ?? null;
    if (draftId) {
      get(`/api/responses/${draftId}`).then((details) => draft.show(draftId, byId(details.messageId)), () => draft.show(draftId, null));
      return;
    }
    const last = lastAnswerable(shown(messages));
    if (!last) return;
    get("/api/responses", { conversationId, pageSize: 5 }).then(
      ({ responses }) => {
        const open = responses.find((each) => each.messageId === last.id && !each.action && ["queued", "generating", "completed"].includes(each.status));
        if (open) draft.offer(open.responseId, last);
      },
      () => {}, // the messages' own failure is shown; drafts are also on a page of their own
    );
  }, [loaded, draftId]);
}

/** What a draft answers unless another message is chosen. */
function lastAnswerable(messages) {
  return messages.findLast((message) => answerable(message)) ?? null;
}

const draftButtons = () => [...document.querySelectorAll(".message-draft")];

function focusedMessage(messages) {
  const id = document.activeElement?.dataset?.message;
  return id ? (messages.find((message) => message.id === id) ?? null) : null;
}

function moveThroughMessages(step) {
  const buttons = draftButtons();
  const place = buttons.indexOf(document.activeElement);
  const next = place < 0 ? buttons.at(-1) : buttons[Math.max(0, Math.min(buttons.length - 1, place + step))];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
