// The files of a zip (PKWARE's APPNOTE.TXT): the list at its end, and one of them. The others are never read, however large they are.
import { Unreadable } from "./items.js";

const END = 0x06054b50;
const END_64 = 0x06064b50;
const PLACE_OF_END_64 = 0x07064b50;
const ENTRY = 0x02014b50;
const LOCAL = 0x04034b50;
const LONGEST_END = 22 + 65_535; // bytes: the record and a comment
const MOST = 2 ** 32 - 1; // stands for a number that is in the extra field
const [STORED, DEFLATED] = [0, 8];
const [ENCRYPTED, IS_UTF8] = [1, 0x800];
const UPPER_437 =
  "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0";

/** The files that are in a zip: `{ name, size, … }` each. Throws Unreadable. */
export async function entriesOf(file) {
  const { begin, length, shift } = await directoryOf(file);
  const view = await viewOf(file, begin, length);
  const entries = [];
  for (let place = 0; place + 46 <= length && view.getUint32(place, true) === ENTRY; ) {
    const [named, extra, comment] = [28, 30, 32].map((offset) => view.getUint16(place + offset, true));
    if (place + 46 + named + extra > length) throw new Unreadable("damagedZip");
    entries.push(entryOf(view, place, named, extra, shift));
    place += 46 + named + extra + comment;
  }
  return entries;
}

/** The bytes of one of the files. Throws Unreadable where they are damaged, encrypted, or more than `most`. */
export async function contentOf(file, entry, most) {
  if (entry.flags & ENCRYPTED) throw new Unreadable("encryptedZip");
  if (entry.size > most) throw new Unreadable("tooLarge");
  const head = await viewOf(file, entry.begin, 30);
  if (head.getUint32(0, true) !== LOCAL) throw new Unreadable("damagedZip");
  const begin = entry.begin + 30 + head.getUint16(26, true) + head.getUint16(28, true);
  const packed = file.slice(begin, begin + entry.packedSize);
  const content = await unpacked(packed, entry.method, entry.size);
  if (content.length !== entry.size || crc32(content) !== entry.crc) throw new Unreadable("damagedZip");
  return content;
}

async function unpacked(packed, method, size) {
  if (method === STORED) return new Uint8Array(await packed.arrayBuffer());
  if (method !== DEFLATED) throw new Unreadable("damagedZip");
  const content = new Uint8Array(size);
  const reader = packed.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  try {
    for (let length = 0; ; ) {
      const { value, done } = await reader.read();
      if (done) return content.subarray(0, length);
      content.set(value, length); // throws where there is more than the zip says
      length += value.length;
    }
  } catch {
    throw new Unreadable("damagedZip");
  } finally {
    reader.cancel().catch(() => {}); // it has ended already
  }
}

/** Where the list of files is. What stands before the zip in the file shifts all places. */
async function directoryOf(file) {
  const start = Math.max(0, file.size - LONGEST_END);
  const tail = await viewOf(file, start, file.size - start);
  for (let place = tail.byteLength - 22; place >= 0; place--) {
    if (tail.getUint32(place, true) !== END) continue;
    const [length, begin] = [tail.getUint32(place + 12, true), tail.getUint32(place + 16, true)];
    const large = place >= 20 && tail.getUint32(place - 20, true) === PLACE_OF_END_64;
    if (large) return largeDirectory(file, Number(tail.getBigUint64(place - 12, true)));
    const shift = start + place - length - begin;
    if (shift < 0) break;
    return { begin: begin + shift, length, shift };
  }
  throw new Unreadable("damagedZip");
}

async function largeDirectory(file, place) {
  const view = await viewOf(file, place, 56);
  if (view.getUint32(0, true) !== END_64) throw new Unreadable("damagedZip");
  return { begin: Number(view.getBigUint64(48, true)), length: Number(view.getBigUint64(40, true)), shift: 0 };
}

function entryOf(view, place, named, extra, shift) {
  const at = (offset) => view.getUint32(place + offset, true);
  const flags = view.getUint16(place + 8, true);
  const bytes = new Uint8Array(view.buffer, view.byteOffset + place + 46, named);
  const [packedSize, size, begin] = [at(20), at(24), at(42)];
  const entry = { name: nameOf(bytes, flags), flags, method: view.getUint16(place + 10, true), crc: at(16), packedSize, size, begin };
  const large = largeNumbers(view, place + 46 + named, extra);
  for (const field of ["size", "packedSize", "begin"]) if (entry[field] === MOST && large.length) entry[field] = large.shift();
  entry.begin += shift;
  return entry;
}

/** The numbers of an extra field of files that are larger than 4 GiB. */
function largeNumbers(view, place, length) {
  for (let at = place; at + 4 <= place + length; ) {
    const [kind, size] = [view.getUint16(at, true), view.getUint16(at + 2, true)];
    if (kind === 1 && at + 4 + size <= place + length) {
      return Array.from({ length: Math.floor(size / 8) }, (_, number) => Number(view.getBigUint64(at + 4 + number * 8, true)));
    }
    at += 4 + size;
  }
  return [];
}

function nameOf(bytes, flags) {
  if (flags & IS_UTF8) return new TextDecoder().decode(bytes);
  return [...bytes].map((byte) => (byte < 128 ? String.fromCharCode(byte) : UPPER_437[byte - 128])).join("");
}

async function viewOf(file, begin, length) {
  const buffer = await file.slice(begin, begin + length).arrayBuffer();
  if (buffer.byteLength < length) throw new Unreadable("damagedZip");
  return new DataView(buffer);
}

function crc32(bytes) {
  const table = Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
    return value;
  });
  let crc = -1;
  for (const byte of bytes) crc = (crc >>> 8) ^ table[(crc ^ byte) & 255];
  return ~crc >>> 0;
}
