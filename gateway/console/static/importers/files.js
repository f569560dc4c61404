// The text of a file that somebody chose.
import { Unreadable } from "./items.js";

/** Bytes of a text: what is more does not fit into one of the browser's strings. */
export const MOST_TEXT = 400 * 2 ** 20;

/** The first bytes of a file as a text; what is no UTF-8 does not matter here. */
export async function beginning(file, length = 4_096) {
  return new TextDecoder().decode(await file.slice(0, length).arrayBuffer());
}

export async function bytesOf(file) {
  if (file.size > MOST_TEXT) throw new Unreadable("tooLarge");
  return new Uint8Array(await file.arrayBuffer());
}

/** The lines of a text. One that is no UTF-8 has a lone surrogate in it, so that it is found to be unreadable and the others are read. */
export function linesOf(bytes) {
  return wholeOf(bytes)
    .split("\n")
    .map((line) => line.replace(/[\r\n]+$/, ""));
}

function wholeOf(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    return damagedText(bytes);
  }
}

/** What is no UTF-8 becomes lone surrogates, line by line. */
export function damagedText(bytes) {
  const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  const lenient = new TextDecoder("utf-8", { ignoreBOM: true });
  const lines = [];
  for (let begin = 0; begin <= bytes.length; ) {
    const end = bytes.indexOf(10, begin);
    const line = bytes.subarray(begin, end < 0 ? bytes.length : end);
    try {
      lines.push(strict.decode(line));
    } catch {
      lines.push(lenient.decode(line).replaceAll("\ufffd", "\udcff"));
    }
    begin = end < 0 ? bytes.length + 1 : end + 1;
  }
  return lines.join("\n").replace(/^\ufeff/, "");
}
