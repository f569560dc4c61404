// What the gateway takes of a message (docs/API.md): one that it refused would hold up all others of its batch.
import { isLonger, trimmed } from "./words.js";

const LONGEST_TEXT = 100_000;
const LONGEST_GUID = 200;
const LONGEST_HANDLE = 320;
const LONGEST_EMOJI = 50;
const [FIRST_YEAR, LAST_YEAR] = [1970, 2199];

/** Why the gateway would refuse a message, without quoting it; null if it takes it. */
export function problemOf(message) {
  const times = [message.sentAt, message.editedAt, message.retractedAt].filter((time) => time !== undefined);
  if (times.some((time) => !isOfThisAge(time))) return "a date of another age";
  const guids = [message.imessageGuid, message.replyToGuid, message.associatedMessageGuid].filter((guid) => guid !== undefined);
  if (guids.some((guid) => !guid || isLonger(guid, LONGEST_GUID) || !isStorable(guid))) return "a guid that is too long or not readable";
  if (!isHandle(message.senderId)) return "a sender that is too long or not readable";
  const emoji = message.associatedMessageEmoji;
  if (emoji !== undefined && (isLonger(emoji, LONGEST_EMOJI) || !isStorable(emoji))) return "an emoji that is too long or not readable";
  if (message.text !== undefined) {
    if (isLonger(message.text, LONGEST_TEXT)) return "a text of more than 100,000 characters";
    if (!isStorable(message.text)) return "a text that is not UTF-8";
  }
  const names = (message.attachments ?? []).flatMap((each) => [each.guid, each.mimeType, each.filename]);
  return names.some((name) => name !== undefined && !isStorable(name)) ? "an attachment's guid or name that is too long or not readable" : null;
}

/** Whether somebody can be known by it. */
export function isHandle(value) {
  return typeof value === "string" && trimmed(value) !== "" && !isLonger(value, LONGEST_HANDLE) && isStorable(value);
}

/** A text without NUL, and with marks where it is no Unicode. */
export const storable = (text) => text.replaceAll("\0", "").replace(/\p{Cs}/gu, "?");

/** Whether it is Unicode without NUL; bytes that were none came in as lone surrogates. */
function isStorable(text) {
  return text.isWellFormed() && !text.includes("\0");
}

/** Times are as they are sent: `2024-01-31T20:41:00Z`, with more digits or a sign where the year has more than four. */
function isOfThisAge(time) {
  const year = Number(/^[+-]?\d+/.exec(time)[0]);
  return year >= FIRST_YEAR && year <= LAST_YEAR;
}
