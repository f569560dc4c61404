// The rows of Telegram's export (`result.json`): their form, and the messages that they become. Names of fields are Telegram Desktop's own.
import { blake2b } from "../vendor/noble-blake2.js";
import { known, leftOut, OWNER, wireTime } from "./items.js";
import { cut, trimmed } from "./words.js";

export const PREFIX = "telegram:";
const [FIRST_SECOND, LAST_SECOND] = [-62_135_596_800, 253_402_300_799]; // the years 1 to 9999

/** A row that cannot be read; the message says what is wrong with it and quotes nothing of it. */
export class DamagedRow extends Error {}

export const rowName = (chatId, number) => `message ${number} of chat ${chatId}`;
const guidOf = (chatId, number) => `${PREFIX}${chatId}:${number}`;

const isText = (value) => typeof value === "string" && value.isWellFormed();
const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const optional = (check) => (value) => value === undefined || value === null || check(value);
const listOf = (check) => (value) => Array.isArray(value) && value.every(check);
const isPart = (part) => isText(part) || (isObject(part) && (part.text === undefined || isText(part.text)));
const isReactionOf = (each) => isObject(each) && optional(isText)(each.from_id) && optional(isText)(each.date);
const isReaction = (each) =>
  isObject(each) &&
  (each.type === undefined || isText(each.type)) &&
  optional(isText)(each.emoji) &&
  (each.recent === undefined || listOf(isReactionOf)(each.recent));

const ROW = {
  id: Number.isInteger,
  type: isText,
  text: (value) => value === undefined || isText(value) || listOf(isPart)(value),
  members: optional(listOf(optional(isText))),
  reactions: (value) => value === undefined || listOf(isReaction)(value),
  reply_to_message_id: optional(Number.isInteger),
  file_size: optional(Number.isInteger),
  photo_file_size: optional(Number.isInteger),
};
for (const name of [
  "date", "date_unixtime", "edited_unixtime", "from", "from_id", "actor", "actor_id", "action", "title", "reply_to_peer_id",
  "forwarded_from", "file", "file_name", "photo", "mime_type", "media_type",
]) {
  ROW[name] = optional(isText);
}

/** Whether it has the form of a row. */
export const isRow = (row) => isObject(row) && Object.entries(ROW).every(([name, check]) => check(row[name]));

/** Whether it says who it is from, in the form of a row. */
export const saysSender = (row) => isObject(row) && ROW.from(row.from) && ROW.from_id(row.from_id);

/** The messages that a row becomes: its own, and one for each reaction to it. Throws DamagedRow where it lacks what every row has. */
export function* messagesOf(row, chatId, ownerId) {
  const name = rowName(chatId, row.id);
  if (row.type !== "message" && row.type !== "service") return yield leftOut(name, "row of a kind that is not known");
  const sentAt = timeOf(row.date_unixtime, row.date);
  if (sentAt === null) throw new DamagedRow("no date");
  const sender = row.from_id || row.actor_id;
  if (sender === undefined || sender === null) throw new DamagedRow("nobody knows who sent it");
  const common = { imessageGuid: guidOf(chatId, row.id), sentAt, ...by(sender, ownerId) };
  if (row.type === "service") return yield { ...common, messageType: "system", text: eventOf(row) };
  const message = written(row, common, chatId);
  yield message;
  if (!message.reason) yield* reactions(row, chatId, ownerId, sentAt);
}

/** A text, which Telegram writes in parts where something of it is bold, a link or a name. */
function plainText(text = "") {
  const whole = typeof text === "string" ? text : text.map((part) => (typeof part === "string" ? part : (part.text ?? ""))).join("");
  const plain = whole.replaceAll("\0", "");
  return trimmed(plain) ? plain : null;
}

function written(row, common, chatId) {
  const [text, file] = [plainText(row.text), attachmentOf(row, chatId)];
  if (text === null && file === null) {
    const isOther = [row.location_information, row.contact_information, row.poll].some(hasSomething);
    return leftOut(rowName(chatId, row.id), isOther ? "place, contact, poll or game" : "nothing in it");
  }
  const attachments = file ? [file] : null;
  if (isSet(row.forwarded_from) && common.direction === "outgoing" && text !== null) {
    // Somebody else's words: as a text of the owner they would be learnt from.
    return known({ ...common, messageType: "system", text: `forwarded: ${text}`, attachments });
  }
  const repliesHere = row.reply_to_message_id && !isSet(row.reply_to_peer_id);
  return known({
    ...common,
    messageType: text !== null ? "text" : "attachment",
    text,
    editedAt: timeOf(row.edited_unixtime, null),
    replyToGuid: repliesHere ? guidOf(chatId, row.reply_to_message_id) : null,
    attachments,
  });
}

/** Only those of which the export says whose they are: of a group with many it has the latest. */
function* reactions(row, chatId, ownerId, sentAt) {
  for (const { type, emoji, recent = [] } of row.reactions ?? []) {
    if (type !== "emoji" || !emoji) continue;
    for (const each of recent) {
      if (!isSet(each.from_id)) continue;
      const mark = Array.from(blake2b(new TextEncoder().encode(emoji), { dkLen: 6 }), (byte) => byte.toString(16).padStart(2, "0")).join("");
      yield {
        imessageGuid: `${guidOf(chatId, row.id)}:${each.from_id}:${mark}`,
        ...by(each.from_id, ownerId),
        messageType: "reaction",
        sentAt: timeOf(null, each.date) ?? sentAt,
        associatedMessageGuid: guidOf(chatId, row.id),
        associatedMessageType: emoji,
      };
    }
  }
}

function by(sender, ownerId) {
  return sender === ownerId ? { senderId: OWNER, direction: "outgoing" } : { senderId: PREFIX + sender, direction: "incoming" };
}

/** The first of the two that is there, as it is sent; 0 stands for never. */
function timeOf(unix, local) {
  if (isSet(unix)) {
    const digits = /^[+-]?\d+$/.exec(trimmed(unix));
    if (!digits || Number(unix) < FIRST_SECOND || Number(unix) > LAST_SECOND) throw new DamagedRow("a date that there is not");
    return Number(unix) === 0 ? null : wireTime(new Date(Number(unix) * 1000));
  }
  return isSet(local) ? localTime(local) : null;
}

/** `2023-11-14T22:13:20`, of old versions, without a zone: it is this one's. */
function localTime(text) {
  const match = /^(\d{4})-(\d\d)-(\d\d)[T ](\d\d):(\d\d):(\d\d)$/.exec(text);
  const [year, month, day, hour, minute, second] = (match ?? []).slice(1).map(Number);
  const exists = match && year > 0 && hour < 24 && minute < 60 && second < 60 && isDay(year, month, day);
  if (!exists) throw new DamagedRow("a date that there is not");
  const date = new Date(year, month - 1, day, hour, minute, second);
  if (year < 100) date.setFullYear(year); // the constructor means 1900 and more
  return wireTime(date);
}

function isDay(year, month, day) {
  const date = new Date(Date.UTC(2000, month - 1, day));
  date.setUTCFullYear(year, month - 1, day);
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

function eventOf({ action, title, members }) {
  const words = (action || "something happened").replaceAll("_", " ");
  const about = title || (members ?? []).filter(Boolean).join(", ");
  return about ? `${words}: ${about}` : words;
}

/** A photo, or any other file; where it was not exported, the export has a sentence in brackets in its place. */
function attachmentOf(row, chatId) {
  const path = row.photo || row.file;
  if (!isSet(path)) return null;
  const name = row.file_name || (path.startsWith("(") ? null : path.slice(path.lastIndexOf("/") + 1));
  const size = row.photo ? row.photo_file_size : row.file_size;
  const type = row.mime_type || (row.photo ? "image/jpeg" : null) || row.media_type || "";
  return known({
    guid: `${guidOf(chatId, row.id)}:file`,
    mimeType: cut(type, 200) || null,
    filename: name ? cut(name, 500) : null,
    byteSize: isSet(size) && size >= 0 ? size : null,
  });
}

const isSet = (value) => value !== undefined && value !== null;

/** Whether there is anything in a value of any form. */
function hasSomething(value) {
  if (typeof value === "object" && value !== null) return (Array.isArray(value) ? value : Object.keys(value)).length > 0;
  return Boolean(value);
}
