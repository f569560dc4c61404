// Which kind of export a file is, by what is in it.
import { beginning } from "./files.js";
import { Unreadable } from "./items.js";
import { isTelegram, openTelegram } from "./telegram.js";
import { isWhatsApp, openWhatsApp } from "./whatsapp.js";

/** A source of whatever kind a file is. Throws Unreadable, or Question where the person has to say more. */
export async function openSource(file, said) {
  if (file.size === 0) throw new Unreadable("empty");
  const begin = await beginning(file);
  if (begin.startsWith("SQLite format 3\0")) throw new Unreadable("chatDb");
  if (/^\ufeff?\s*BEGIN:VCARD/i.test(begin)) throw new Unreadable("addressBook");
  if (isTelegram(begin)) return openTelegram(file, said);
  if (await isWhatsApp(file)) return openWhatsApp(file, said);
  throw new Unreadable("unknown");
}
