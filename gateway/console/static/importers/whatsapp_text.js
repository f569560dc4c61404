// What the text of a WhatsApp message says beside its words: files, what was left out of the export, edits, deletions. The export is written in
// the phone's language: what has a form of its own is known by that, for the rest there are lists of the languages that most phones are set to.
import { known } from "./items.js";
import { withoutMarks } from "./whatsapp_lines.js";
import { cut, stripped, strippedEnd, trimmed, WHITE, WORD } from "./words.js";

const LRM = "\u200e";
const ATTACHED_IOS = new RegExp(`${LRM}?<[^<>:]{3,40}: ?([^<>\\n/\\\\]+\\.[${WORD}]{1,8})>`, "u");
const ATTACHED_ANDROID = new RegExp(`^${LRM}?([^\\n/\\\\<>|]+\\.[${WORD}]{1,8}) \\([^()\\n]{3,60}\\)(?:\\n|$)`, "u");
const LEFT_OUT_ANDROID = new RegExp(`^${LRM}?<[^<>:\\n]{3,60}>$`, "u");
const PAGES = new RegExp(`^[^\\n]+ • ${LRM}?\\p{Nd}+ [^${WHITE}]+$`, "u"); // what iOS writes before a document: its name, and how many pages it has
const EDITED = new RegExp(`[${WHITE}]*${LRM}<[^<>\\n]{5,80}>$`, "u");
const LEFT_OUT_IOS = [
  "omitted", "weggelassen", "ausgeschlossen", "omitido", "omitida", "omitidos", "ommesso", "omesso", "omessa", "absente", "absent",
  "omis", "omise", "ocultado", "ocultada", "oculto", "oculta", "weggelaten", "dışarıda bırakıldı", "пропущено", "pominięto",
];
const DELETED = new Set([
  "this message was deleted", "you deleted this message", "diese nachricht wurde gelöscht", "du hast diese nachricht gelöscht",
  "se eliminó este mensaje", "eliminaste este mensaje", "este mensaje fue eliminado", "ce message a été supprimé",
  "vous avez supprimé ce message", "questo messaggio è stato eliminato", "hai eliminato questo messaggio", "mensagem apagada",
  "esta mensagem foi apagada", "você apagou esta mensagem", "dit bericht is verwijderd", "je hebt dit bericht verwijderd",
  "u hebt dit bericht verwijderd", "bu mesaj silindi", "bu mesajı sildiniz", "данное сообщение удалено", "вы удалили данное сообщение",
]);
const SEEN_ONCE = "null"; // what Android writes of a message that could be seen once
const TYPES = {
  "3gp": "video/3gpp", aac: "audio/aac", amr: "audio/amr", avi: "video/x-msvideo", csv: "text/csv", doc: "application/msword",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", gif: "image/gif", heic: "image/heic", jpeg: "image/jpeg",
  jpg: "image/jpeg", m4a: "audio/mp4", mkv: "video/x-matroska", mov: "video/quicktime", mp3: "audio/mpeg", mp4: "video/mp4", ogg: "audio/ogg",
  opus: "audio/ogg", pdf: "application/pdf", png: "image/png", ppt: "application/vnd.ms-powerpoint",
  pptx: "application/vnd.openxmlformats-officedocument.presentationml.presentation", txt: "text/plain", vcf: "text/vcard", wav: "audio/wav",
  webm: "video/webm", webp: "image/webp", xls: "application/vnd.ms-excel",
  xlsx: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", zip: "application/zip",
};

/** A message's text without what WhatsApp wrote about it: `{ text, attachment, isDeleted, isEdited, isSystem }`. `sizes`: of files, by name. */
export function contentOf(written, sizes) {
  const plain = withoutMarks(written);
  if (DELETED.has(strippedEnd(plain, ".").toLowerCase())) return { text: null, isDeleted: true };
  if (plain === SEEN_ONCE) return { text: null };
  if (LEFT_OUT_ANDROID.test(written) || isLeftOutOnIos(written)) return { text: null, attachment: {} };
  const match = ATTACHED_IOS.exec(written) ?? ATTACHED_ANDROID.exec(written);
  if (match) {
    const rest = written.slice(0, match.index) + written.slice(match.index + match[0].length);
    const name = withoutMarks(match[1]);
    const words = trimmed(withoutMarks(rest));
    return { text: PAGES.test(words) ? null : words || null, attachment: attachmentOf(name, sizes.get(name)) };
  }
  const edited = EDITED.exec(written);
  if (edited) return { text: wordsOf(written.slice(0, edited.index)), isEdited: true };
  return { text: wordsOf(written), isSystem: written.startsWith(LRM) };
}

/** `‎image omitted`: a mark, a word or two, and that it was left out. */
function isLeftOutOnIos(written) {
  if (!written.startsWith(LRM) || written.includes("\n")) return false;
  const plain = strippedEnd(withoutMarks(written).toLowerCase(), ".");
  return [...plain].length < 40 && LEFT_OUT_IOS.some((word) => plain.endsWith(word));
}

function attachmentOf(name, byteSize) {
  return known({ filename: cut(name, 500), mimeType: TYPES[name.slice(name.lastIndexOf(".") + 1).toLowerCase()], byteSize });
}

function wordsOf(text) {
  const plain = stripped(text, `${LRM}\u200f`).replaceAll("\0", "");
  return trimmed(plain) ? plain : null;
}
