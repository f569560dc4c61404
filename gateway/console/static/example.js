// A made-up history, to see drafts, samples and a training with before one's own messages are there. Its threads are known by their identifiers.
import { get, post, remove, request } from "./api.js";

const FOLDER = "/console/example";
const PREFIX = "example;-;";
const FIRST_MESSAGE = Date.UTC(2026, 0, 5, 9);
const MINUTE = 60_000;
const BETWEEN = 49 * 60 * MINUTE; // from one exchange to the next

export const isExample = (conversation) => conversation.imessageId.startsWith(PREFIX);

/** The ids of the example's threads that are in the account. */
export async function exampleThreads(signal) {
  const { conversations } = await get("/api/sync/state", undefined, { signal });
  return conversations.filter((each) => each.conversationImessageId.startsWith(PREFIX)).map((each) => each.conversationId);
}

/** Put it into the account; once there, it changes nothing. */
export async function bringExample() {
  const [people, thread] = await Promise.all(["sample_history.json", "sample_thread.json"].map(loaded));
  for (const [number, person] of people.entries()) {
    await post("/api/sync/messages", batchOf(person.name, exchangesOf(person, FIRST_MESSAGE + number * 60 * MINUTE)));
  }
  const name = thread.conversationDisplayName;
  const messages = thread.messages.map((each) => messageOf(name, each.imessageGuid, each.direction === "outgoing", each.text, each.sentAt));
  await post("/api/sync/messages", batchOf(name, messages));
}

/** Take it out again, with its drafts and samples. */
export async function removeExample() {
  for (const id of new Set(await exampleThreads())) await remove(`/api/conversations/${id}`);
}

async function loaded(name) {
  return (await request("GET", `${FOLDER}/${name}`)).json();
}

const handleOf = (name) => `${name} (example)`;

function batchOf(name, messages) {
  const handle = handleOf(name);
  return { conversationImessageId: PREFIX + handle, conversationDisplayName: handle, isGroup: false, participantIds: [handle], messages };
}

/** Each question and its answer a few minutes later. */
function exchangesOf({ name, exchanges }, begin) {
  return exchanges.flatMap(([question, reply], place) => {
    const asked = begin + place * BETWEEN;
    return [
      messageOf(name, `${place}-asked`, false, question, new Date(asked).toISOString()),
      messageOf(name, `${place}-answered`, true, reply, new Date(asked + 4 * MINUTE).toISOString()),
    ];
  });
}

function messageOf(name, guid, isMine, text, sentAt) {
  return {
    imessageGuid: `example:${name}:${guid}`,
    senderId: isMine ? "me" : handleOf(name),
    direction: isMine ? "outgoing" : "incoming",
    messageType: "text",
    text,
    sentAt,
  };
}
