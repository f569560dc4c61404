// What a source gives as the bodies that are sent, and what is told of it beforehand.
import { storable } from "./checking.js";
import { known } from "./items.js";
import { cut } from "./words.js";

const MOST_MESSAGES = 1_000;
const MOST_BYTES = 7 * 2 ** 20; // of a batch's messages as JSON; the gateway takes 8 MiB with what stands around them
const MOST_CONTACTS = 1_000;
const MOST_PARTICIPANTS = 1_000;
const LONGEST_NAME = 500;
const MOST_DAMAGED = 100; // names of rows that are kept

/** The bodies in the order in which they are sent: `{ path, body, position }`, contacts first, so that the messages find the people they are from. */
export function* requestsOf(source) {
  for (let begin = 0; begin < source.contacts.length; begin += MOST_CONTACTS) {
    yield { path: "/api/sync/contacts", body: { contacts: source.contacts.slice(begin, begin + MOST_CONTACTS) }, position: 0 };
  }
  for (const window of source.windows()) {
    for (const { thread, messages } of threadsOf(window)) {
      for (const batch of batchesOf([...messages.values()])) {
        yield { path: "/api/sync/messages", body: bodyOf(thread, batch), position: window.position };
      }
    }
  }
}

/** What a source has in it: how many messages of which threads, from when to when, and what is left out, by reason. */
export function found(source) {
  const threads = new Map();
  const reasons = new Map();
  const damaged = [];
  let [first, last] = [null, null];
  for (const window of source.windows()) {
    for (const { row, reason, isDamaged } of window.leftOut) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      if (isDamaged && damaged.length < MOST_DAMAGED) damaged.push(row);
    }
    for (const { thread, messages } of threadsOf(window)) {
      const so = threads.get(thread.identifier) ?? { name: thread.displayName, isGroup: thread.isGroup, messages: 0 };
      threads.set(thread.identifier, { ...so, messages: so.messages + messages.size });
      for (const { sentAt } of messages.values()) {
        if (first === null || sentAt < first) first = sentAt;
        if (last === null || sentAt > last) last = sentAt;
      }
    }
  }
  const list = [...threads.values()].sort((one, other) => other.messages - one.messages);
  const messages = list.reduce((sum, thread) => sum + thread.messages, 0);
  const { kind, owner, people, rows } = source;
  return { kind, owner, people, rows, threads: list, messages, first, last, leftOut: [...reasons], damaged };
}

/** A window's messages by thread. The same guid twice is one message; the later row has its newer state. */
function threadsOf(window) {
  const threads = new Map();
  for (const { thread, message } of window.items) {
    if (!threads.has(thread.identifier)) threads.set(thread.identifier, { thread, messages: new Map() });
    threads.get(thread.identifier).messages.set(message.imessageGuid, message);
  }
  return threads.values();
}

function* batchesOf(messages) {
  const encoder = new TextEncoder();
  let [batch, size] = [[], 0];
  for (const message of messages) {
    const length = encoder.encode(JSON.stringify(message)).length + 1;
    if (batch.length && (batch.length === MOST_MESSAGES || size + length > MOST_BYTES)) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push(message);
    size += length;
  }
  if (batch.length) yield batch;
}

/** A batch as the gateway takes it: a name that is too long is cut. */
function bodyOf(thread, messages) {
  const name = thread.displayName;
  const participants = thread.participantIds.slice(0, MOST_PARTICIPANTS);
  return {
    ...known({
      conversationImessageId: thread.identifier,
      conversationDisplayName: name ? cut(storable(name), LONGEST_NAME) : null,
      isGroup: thread.isGroup,
      participantIds: participants.length ? participants : null,
    }),
    messages,
  };
}
