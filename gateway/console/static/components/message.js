// One message as it stands in its thread. Every text in it was written by somebody else.
import { day, sameDay, size, time, whole } from "../format.js";
import { html } from "../lib.js";
import { answerable } from "../messages.js";
import { senderName } from "../names.js";
import { texts } from "../texts.js";
import { Icon } from "./icons.js";

const words = texts.thread;
const ONE_GO = 5 * 60 * 1000; // milliseconds within which messages of one sender stand together
const LONGEST_TAPBACK = 8; // characters; nothing says that what a client calls an emoji is one

/** Messages with the days between them. `peer` is who the others' are of, where that is one person; `chosenId` the one to point at. */
export function MessageList({ messages, isGroup, peer, chosenId, onDraft }) {
  const byGuid = new Map(messages.map((message) => [message.imessageGuid, message]));
  return html`<ol class="messages">
    ${messages.map((message, place) => {
      const before = messages[place - 1];
      const after = messages[place + 1];
      const newDay = !before || !sameDay(before.sentAt, message.sentAt);
      return html`${newDay && html`<li key=${`day ${message.sentAt.slice(0, 10)} ${message.id}`} class="day"><h3>${day(message.sentAt)}</h3></li>`}
        <${Message}
          key=${message.id}
          message=${message}
          peer=${peer}
          quoted=${message.replyToGuid ? (byGuid.get(message.replyToGuid) ?? "unknown") : null}
          named=${isGroup && message.direction === "incoming" && (newDay || !inOneGo(before, message))}
          first=${newDay || !inOneGo(before, message)}
          last=${!after || !inOneGo(message, after)}
          chosen=${message.id === chosenId}
          onDraft=${onDraft}
        />`;
    })}
  </ol>`;
}

function Message({ message, peer, quoted, named, first, last, chosen, onDraft }) {
  if (message.messageType === "system") return html`<li class="system" id=${`message-${message.id}`}><p dir="auto">${message.text}</p></li>`;
  return html`<li
    class="message"
    id=${`message-${message.id}`}
    data-direction=${message.direction}
    data-first=${first}
    data-last=${last}
    data-chosen=${chosen}
    data-reacted=${message.reactions.length > 0}
  >
    ${named ? html`<p class="sender" dir="auto">${senderName(message)}</p>` : html`<p class="visually-hidden">${senderName(message, peer)}</p>`}
    <div class="bubble-row">
      <div class="bubble" title=${whole(message.sentAt)}>
        ${quoted && html`<${Quote} message=${quoted} peer=${peer} />`}
        ${message.retractedAt ? html`<p class="retracted">${words.retracted}</p>` : message.text && html`<p class="message-text" dir="auto">${message.text}</p>`}
        ${message.attachments.map((attachment) => html`<${Attachment} key=${attachment.guid} attachment=${attachment} />`)}
        <${Reactions} reactions=${message.reactions} peer=${peer} />
      </div>
      ${answerable(message) &&
      html`<button type="button" class="icon-button message-draft" aria-label=${words.draftThis} title=${words.draftThis} data-message=${message.id} onClick=${() => onDraft(message)}>
        <${Icon} name="drafts" />
      </button>`}
    </div>
    ${(last || message.editedAt) &&
    html`<p class="message-meta">
      <time datetime=${message.sentAt}>${time(message.sentAt)}</time>
      ${message.editedAt && !message.retractedAt && html`<span title=${whole(message.editedAt)}> · ${words.edited}</span>`}
    </p>`}
  </li>`;
}

function Quote({ message, peer }) {
  const said = message.retractedAt ? words.retracted : (message.text ?? words.attachment);
  const text = message === "unknown" ? words.replyToUnknown : words.replyTo(senderName(message, peer), said);
  return html`<p class="quote" dir="auto"><span class="visually-hidden">${words.inReplyTo} </span>${text}</p>`;
}

function Attachment({ attachment }) {
  return html`<p class="attachment" title=${attachment.mimeType}>
    <${Icon} name="file" />
    <span class="attachment-name" dir="auto">${attachment.filename || words.unnamedFile}</span>
    <span class="attachment-size">${size(attachment.byteSize)}</span>
  </p>`;
}

function Reactions({ reactions, peer }) {
  if (reactions.length === 0) return null;
  const byType = grouped(reactions);
  return html`<ul class="reactions" aria-label=${words.reactions}>
    ${[...byType].map(([type, those]) => {
      const who = those.map((reaction) => words.reactionOf(senderName(reaction, peer), type)).join("\n");
      const tapback = Object.hasOwn(words.tapbacks, type) ? words.tapbacks[type] : [...type].slice(0, LONGEST_TAPBACK).join("");
      return html`<li key=${type} title=${who}>
        <span aria-hidden="true">${tapback}${those.length > 1 && html` <b>${those.length}</b>`}</span><span class="visually-hidden">${who}</span>
      </li>`;
    })}
  </ul>`;
}

function grouped(reactions) {
  const groups = new Map();
  for (const reaction of reactions) groups.set(reaction.type, [...(groups.get(reaction.type) ?? []), reaction]);
  return groups;
}

function inOneGo(before, after) {
  const pause = new Date(after.sentAt) - new Date(before.sentAt);
  return (
    before.messageType !== "system" &&
    before.direction === after.direction &&
    before.senderId === after.senderId &&
    pause < ONE_GO &&
    sameDay(before.sentAt, after.sentAt)
  );
}
