// Texts as the Python importers take them: lengths in characters (not UTF-16 units), and Python's notion of white space and digits.

/** White space, and what a word is made of, for use inside of `[…]` of a regular expression with the flag `u`. */
export const WHITE = "\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000";
export const WORD = "\\p{L}\\p{N}_";

const AROUND = new RegExp(`^[${WHITE}]+|[${WHITE}]+$`, "gu");
const DIGIT = /\p{Nd}/u;

/** A text without the white space around it. */
export const trimmed = (text) => text.replace(AROUND, "");

/** A text without any of some characters around it. */
export function stripped(text, characters) {
  let [begin, end] = [0, text.length];
  while (begin < end && characters.includes(text[begin])) begin++;
  while (end > begin && characters.includes(text[end - 1])) end--;
  return text.slice(begin, end);
}

/** A text without any of some characters at its end. */
export function strippedEnd(text, characters) {
  let end = text.length;
  while (end > 0 && characters.includes(text[end - 1])) end--;
  return text.slice(0, end);
}

/** Whether a text has more than so many characters. */
export const isLonger = (text, most) => text.length > most && [...text].length > most;

/** The first characters of a text. */
export const cut = (text, most) => (isLonger(text, most) ? [...text].slice(0, most).join("") : text);

/** The number that digits of any script stand for. */
export function numberOf(digits) {
  return Number([...digits].map((digit) => valueOf(digit)).join(""));
}

/** Digits of a script stand in a row, 0 first. */
function valueOf(digit) {
  const code = digit.codePointAt(0);
  if (code < 128) return code - 48;
  let zero = code;
  while (zero > code - 9 && DIGIT.test(String.fromCodePoint(zero - 1))) zero--;
  return code - zero;
}
