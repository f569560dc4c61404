// WhatsApp's export of a chat as a source: a text, or a zip of the text and the files.
import { blake2b } from "../vendor/noble-blake2.js";
import { isHandle, problemOf } from "./checking.js";
import { beginning, bytesOf, linesOf, MOST_TEXT } from "./files.js";
import { known, leftOut, newWindow, OWNER, Question, Unreadable, WINDOW, wireTime } from "./items.js";
import { dateOrders, header, timeOf, withoutMarks } from "./whatsapp_lines.js";
import { contentOf } from "./whatsapp_text.js";
import { cut, isLonger, stripped, strippedEnd, trimmed } from "./words.js";
import * as zip from "./zip.js";

const MOST_LINES = 20_000; // of one message: a longer one is refused for its length, and need not be held
const NAME_OF_FILE = /WhatsApp.*?(?: - | with | mit | con | avec | com | met | med | z | с )(.+)$/isu;
const QUOTES = /["“”„«»]/; // a name has none; a line of the system has them around a group's new name
const ZIP = "PK\x03\x04";

/** Whether it looks like an export: by its first lines, not by its name. */
export async function isWhatsApp(file) {
  const begin = await beginning(file, 65_536);
  return begin.startsWith(ZIP) || begin.split("\n").slice(0, 20).some((line) => header(line) !== null);
}

/**
 * Read an export. `said` may have `owner` (the owner's name as the export has it) and `order` (of day and month: dmy, mdy or ymd).
 * Throws Unreadable, or Question where one of the two has to be said.
 */
export async function openWhatsApp(file, said) {
  const { lines, sizes } = await contentsOf(file);
  return new WhatsAppChat(file.name, lines, sizes, said);
}

/** The messages of an export in the order of its lines. A position is a number of messages. */
class WhatsAppChat {
  kind = "whatsapp";
  contacts = [];

  constructor(fileName, lines, sizes, said) {
    this.sizes = sizes;
    const order = said.order ?? orderOfDates(lines);
    this.written = [...messagesOf(lines, order)];
    const senders = new Set();
    for (const { sender, text } of this.written) if (sender !== null && !contentOf(text, new Map()).isSystem) senders.add(sender);
    const name = nameOf(fileName);
    this.owner = whoIsOwner([...senders], name, said.owner);
    const others = [...senders].filter((sender) => sender !== this.owner);
    if (!name && others.length !== 1) throw new Unreadable("unnamedChat");
    this.people = [...senders];
    this.thread = threadOf(name || others[0], others);
  }

  get rows() {
    return this.written.length;
  }

  *windows() {
    const equals = new Map();
    let window = newWindow(0);
    for (const [place, written] of this.written.entries()) {
      const outcome = this.#outcome(written, equals);
      if (outcome.message) window.items.push(outcome);
      else window.leftOut.push(outcome);
      window.position = place + 1;
      if (window.items.length + window.leftOut.length === WINDOW) {
        yield window;
        window = newWindow(place + 1);
      }
    }
    if (window.items.length || window.leftOut.length) yield window;
  }

  #outcome(written, equals) {
    const row = `line ${written.line}`;
    if (written.time === null) return leftOut(row, "a date that there is not", true);
    const content = contentOf(written.text, this.sizes);
    const isSystem = written.sender === null || Boolean(content.isSystem);
    if (content.text === null && !content.attachment && !content.isDeleted) return leftOut(row, "nothing in it, such as a photo to be seen once");
    const isMine = written.sender === this.owner && !isSystem;
    const sentAt = wireTime(inThisZone(written.time));
    const message = known({
      imessageGuid: this.#guid(written, content.text, equals),
      senderId: isMine ? OWNER : this.#sender(written),
      direction: isMine ? "outgoing" : "incoming",
      messageType: isSystem ? "system" : content.text === null && content.attachment ? "attachment" : "text",
      sentAt,
      text: content.text,
      editedAt: content.isEdited ? sentAt : null,
      retractedAt: content.isDeleted ? sentAt : null,
      attachments: content.attachment ? [content.attachment] : null,
    });
    const problem = problemOf(message);
    return problem ? leftOut(row, problem, true) : { row, thread: this.thread, message };
  }

  /** Lines of the system are nobody's: they are told as the other's, or as the group's. */
  #sender({ sender }) {
    return sender !== null && sender !== this.owner ? sender : (this.thread.participantIds[0] ?? "WhatsApp");
  }

  /** The same for the same message in each export of the chat; of equal messages in one minute each has its number. */
  #guid({ time, sender }, text, equals) {
    const clock = new Date(time).toISOString().slice(0, 19).replace("T", " ");
    const parts = [this.thread.identifier, clock, sender ?? "", text ?? ""].join("\0");
    const digest = blake2b(new TextEncoder().encode(parts), { dkLen: 16 });
    const hex = Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
    equals.set(hex, (equals.get(hex) ?? 0) + 1);
    return `whatsapp:${hex}:${equals.get(hex)}`;
  }
}

async function contentsOf(file) {
  if (!(await beginning(file, 4)).startsWith(ZIP)) return { lines: linesOf(await bytesOf(file)), sizes: new Map() };
  const entries = await zip.entriesOf(file);
  const texts = entries.filter(({ name }) => name.endsWith(".txt") && !name.includes("/"));
  const named = texts.filter(({ name }) => name === "_chat.txt" || name.toLowerCase().includes("whatsapp"));
  const chosen = named.length ? named : texts;
  if (chosen.length !== 1) throw new Unreadable("noChatInZip");
  const lines = linesOf(await zip.contentOf(file, chosen[0], MOST_TEXT));
  return { lines, sizes: new Map(entries.map(({ name, size }) => [name, size])) };
}

function orderOfDates(lines) {
  const headers = lines.map(header).filter(Boolean);
  const orders = dateOrders(headers);
  if (orders.length === 0) throw new Unreadable("noWhatsApp");
  if (orders.length === 1) return orders[0];
  const examples = exampleOf(headers, orders);
  throw new Question({ ask: "order", ...examples });
}

/** A date of the file that says something else in each order: as it is written, and what it is then. */
function exampleOf(headers, orders) {
  const differs = (each) => new Set(orders.map((order) => timeOf(each, order))).size === orders.length;
  const each = headers.findLast(differs) ?? headers.at(-1);
  return { date: each.date, examples: orders.map((order) => ({ order, time: timeOf(each, order) })) };
}

/** The messages with all their lines: a line that begins no message belongs to the one above. */
function* messagesOf(lines, order) {
  let current = null;
  let more = [];
  const joined = () => (more.length ? { ...current, text: strippedEnd([current.text, ...more].join("\n"), "\n") } : current);
  for (const [place, line] of lines.entries()) {
    if (place === lines.length - 1 && line === "") break; // the end of the last line
    const begin = header(line);
    const time = begin && timeOf(begin, order);
    if (begin && (time !== null || current === null)) {
      if (current) yield joined();
      current = { line: place + 1, time, ...senderAndText(begin.rest) };
      more = [];
    } else if (current && more.length < MOST_LINES) more.push(line);
  }
  if (current) yield joined();
}

/** Whoever wrote a line, and what; nobody, of the system's own. */
function senderAndText(rest) {
  const colon = rest.indexOf(": ");
  let [name, text] = colon < 0 ? [rest, null] : [rest.slice(0, colon), rest.slice(colon + 2)];
  if (text === null && rest.endsWith(":")) [name, text] = [rest.slice(0, -1), ""];
  const sender = stripped(withoutMarks(name).replace(/^~/, ""), " \u202f\u00a0");
  if (text === null || !isHandle(sender) || isLonger(sender, 100) || QUOTES.test(sender)) return { sender: null, text: withoutMarks(rest) };
  return { sender, text };
}

function whoIsOwner(senders, name, owner) {
  if (owner !== undefined) {
    if (!senders.includes(owner)) throw new Unreadable("nobodyOfThisName");
    return owner;
  }
  if (senders.length <= 2 && senders.includes(name)) return senders.find((sender) => sender !== name) ?? null;
  throw new Question({ ask: "owner", names: senders });
}

function threadOf(name, others) {
  const isGroup = others.length > 1 || (others.length === 1 && others[0] !== name);
  const identifier = cut(`WhatsApp;${isGroup ? "+" : "-"};${name}`, 500);
  return { identifier, displayName: name, isGroup, participantIds: others.length ? others : [name] };
}

/** The chat's name, as WhatsApp puts it into the name of the file; several copies are `… (1)`. */
function nameOf(fileName) {
  const point = fileName.lastIndexOf(".");
  const stem = point > 0 && point < fileName.length - 1 ? fileName.slice(0, point) : fileName;
  const match = NAME_OF_FILE.exec(stem);
  return match ? trimmed(match[1].replace(/ ?\(\p{Nd}+\)$/u, "")) : null;
}

/** A wall clock's time as the moment that it is here. */
function inThisZone(time) {
  const clock = new Date(time);
  const date = [clock.getUTCFullYear(), clock.getUTCMonth(), clock.getUTCDate()];
  return new Date(...date, clock.getUTCHours(), clock.getUTCMinutes(), clock.getUTCSeconds());
}
