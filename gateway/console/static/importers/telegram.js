// Telegram's `result.json`, of one chat or of the whole account, as a source.
import { isHandle, problemOf, storable } from "./checking.js";
import { bytesOf, damagedText } from "./files.js";
import { known, leftOut, newWindow, Question, Unreadable, WINDOW } from "./items.js";
import { DamagedRow, isRow, messagesOf, PREFIX, rowName, saysSender } from "./telegram_rows.js";
import { cut, trimmed } from "./words.js";

const DIRECT = "personal_chat";
const GROUPS = ["private_group", "private_supergroup", "public_supergroup"];
const NOT_PEOPLE = new Map([
  ["bot_chat", "chat with a program"],
  ["saved_messages", "note to oneself"],
  ["private_channel", "channel"],
  ["public_channel", "channel"],
]);
const BEGINNINGS = ['"messages"', '"personal_information"', '"chats"', '"about"'];

/** Whether it looks like an export, by how it begins. */
export const isTelegram = (begin) => begin.trimStart().startsWith("{") && BEGINNINGS.some((word) => begin.includes(word));

/** Read an export. `said.owner` is the owner's name; needed of a single group. Throws Unreadable, or Question. */
export async function openTelegram(file, said) {
  return new TelegramExport(parsed(await bytesOf(file)), said.owner);
}

/** The messages of an export, chat by chat. A position is a number of rows. */
class TelegramExport {
  kind = "telegram";

  constructor(data, owner) {
    this.chats = chatsOf(data);
    const account = data.personal_information?.user_id;
    this.senders = new Map(this.chats.map((chat) => [chat, sendersOf(chat)]));
    const people = this.chats.filter(isOfPeople);
    this.owners = new Map(people.map((chat) => [chat.id, account ? `user${account}` : ownerOf(chat, this.senders.get(chat), owner)]));
    this.contacts = [...contactsOf(data.contacts?.list ?? []), ...this.#senderContacts()];
    this.people = [...new Set(people.flatMap((chat) => [...this.senders.get(chat).values()]))];
    this.owner = people.map((chat) => this.senders.get(chat).get(this.owners.get(chat.id))).find(Boolean) ?? null;
  }

  get rows() {
    return this.chats.reduce((sum, chat) => sum + chat.messages.length, 0);
  }

  *windows() {
    let position = 0;
    for (const chat of this.chats) {
      const thread = threadOf(chat);
      for (let begin = 0; begin < chat.messages.length; begin += WINDOW) {
        const rows = chat.messages.slice(begin, begin + WINDOW);
        position += rows.length;
        const window = newWindow(position);
        for (const [place, row] of rows.entries()) this.#add(row, begin + place, chat, thread, window);
        yield window;
      }
    }
  }

  /** Add what a row becomes. */
  #add(row, place, chat, thread, window) {
    let name = `row ${place} of chat ${chat.id}`;
    if (!isOfPeople(chat)) return window.leftOut.push(leftOut(name, NOT_PEOPLE.get(chat.type) ?? "chat of a kind that is not known"));
    if (!isRow(row)) return window.leftOut.push(leftOut(name, "a row of another form", true));
    name = rowName(chat.id, row.id);
    try {
      for (const message of messagesOf(row, chat.id, this.owners.get(chat.id))) {
        const problem = message.reason ? null : problemOf(message);
        if (message.reason) window.leftOut.push(message);
        else if (problem) window.leftOut.push(leftOut(name, problem, true));
        else window.items.push({ row: name, thread, message });
      }
    } catch (error) {
      if (!(error instanceof DamagedRow)) throw error;
      window.leftOut.push(leftOut(name, error.message, true));
    }
  }

  /** Everybody but the owner, under the id that is their messages' sender. */
  #senderContacts() {
    const found = new Map();
    for (const chat of this.chats.filter(isOfPeople)) {
      for (const [id, name] of this.senders.get(chat)) if (id !== this.owners.get(chat.id)) found.set(id, name);
    }
    return [...found].map(([id, name]) => ({ appleId: PREFIX + id, displayName: cut(storable(name), 200) }));
  }
}

const isOfPeople = ({ type }) => type === DIRECT || GROUPS.includes(type);

function parsed(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    text = damagedText(bytes);
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new Unreadable("cutOffTelegram");
  }
}

function chatsOf(data) {
  const lists = [data.chats?.list, data.left_chats?.list].filter(Array.isArray);
  const chats = data.messages !== undefined ? [data] : lists.flat();
  if (data.messages === undefined && !Array.isArray(data.chats?.list)) throw new Unreadable("noTelegram");
  const isChat = (chat) => Number.isInteger(chat?.id) && typeof chat.type === "string" && Array.isArray(chat.messages ?? []);
  if (!chats.every(isChat)) throw new Unreadable("noTelegram");
  return chats.map(({ id, type, name, messages }) => ({ id, type, name, messages: messages ?? [] }));
}

/** The owner's id in a chat of which no account says it: a chat of two tells, else the name does. */
function ownerOf(chat, senders, owner) {
  if (owner !== undefined) {
    const found = [...senders].filter(([, name]) => name === owner);
    if (found.length !== 1) throw new Unreadable(found.length ? "severalOfThisName" : "nobodyOfThisName");
    return found[0][0];
  }
  if (chat.type === DIRECT) return [...senders.keys()].find((id) => id !== `user${chat.id}`) ?? "";
  throw new Question({ ask: "owner", names: [...new Set(senders.values())].sort() });
}

/** The names of who wrote in a chat, by id; the last name of each. */
function sendersOf(chat) {
  const found = new Map();
  if (NOT_PEOPLE.has(chat.type)) return found;
  for (const row of chat.messages) {
    if (saysSender(row) && row.from_id) found.set(row.from_id, row.from || (found.get(row.from_id) ?? row.from_id));
  }
  return found;
}

/** The account's address book. */
function* contactsOf(entries) {
  const fits = (value, kind) => value === undefined || value === null || typeof value === kind;
  for (const entry of entries) {
    const { user_id: id, first_name: first, last_name: last, phone_number: phone } = entry ?? {};
    if (!fits(id, "number") || ![first, last, phone].every((value) => fits(value, "string"))) continue;
    const name = [first, last].filter(Boolean).join(" ");
    if (id && phone) yield known({ appleId: `${PREFIX}user${id}`, phoneNumber: phone, displayName: storable(name) || null });
    else if (isHandle(trimmed(phone ?? ""))) yield known({ phoneNumber: trimmed(phone), displayName: cut(trimmed(storable(name)), 200) || null });
  }
}

function threadOf(chat) {
  const isGroup = GROUPS.includes(chat.type);
  return {
    identifier: `Telegram;${isGroup ? "+" : "-"};${PREFIX}${isGroup ? "" : "user"}${chat.id}`,
    displayName: chat.name || null,
    isGroup,
    participantIds: isGroup ? [] : [`${PREFIX}user${chat.id}`],
  };
}
