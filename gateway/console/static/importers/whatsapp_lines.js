// The lines of WhatsApp's export: how a message begins, in the date styles of phones everywhere, and in which order day and month are.
// Android: `31.12.23, 21:41 - Sam: Hello`, `12/31/23, 9:41 PM - Sam: Hello`; iOS: `[31/12/2023, 21:41:05] Sam: Hello`.
import { numberOf, stripped } from "./words.js";

const MARKS = "\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\ufeff"; // of the writing direction; they stand anywhere
const SPACE = "[ \\u00a0\\u202f]";
const DATE = `(\\p{Nd}{1,4})[./-]${SPACE}?(\\p{Nd}{1,2})[./-]${SPACE}?(\\p{Nd}{1,4})\\.?`;
const TIME = `(\\p{Nd}{1,2})[:.](\\p{Nd}{2})(?:[:.](\\p{Nd}{2}))?(?:${SPACE}?([AaPp]\\.?${SPACE}?[Mm]\\.?))?`;
const BEGIN = `(${DATE})[,\\u060c]?${SPACE}{1,2}${TIME}`;
const IOS = new RegExp(`^[${MARKS}]*\\[[${MARKS}]*${BEGIN}[${MARKS}]*\\]${SPACE}(.*)$`, "su");
const ANDROID = new RegExp(`^[${MARKS}]*${BEGIN}${SPACE}[-\\u2013]${SPACE}(.*)$`, "su");
const DAY = 24 * 60 * 60 * 1000; // milliseconds

/** What a line begins, if it begins a message: `{ date, numbers, hour, minute, seconds, rest, hasDots }`, else null. */
export function header(line) {
  const match = IOS.exec(line) ?? ANDROID.exec(line);
  if (!match) return null;
  const [, date, first, second, third, hour, minute, seconds, half, rest] = match;
  return {
    date,
    numbers: [first, second, third].map(numberOf),
    hour: half ? (numberOf(hour) % 12) + ("Pp".includes(half[0]) ? 12 : 0) : numberOf(hour),
    minute: numberOf(minute),
    seconds: numberOf(seconds ?? "0"),
    rest,
    hasDots: date.replace(/\.+$/, "").includes("."),
  };
}

/** The wall clock's time if the numbers are in this order, as milliseconds that pretend it to be UTC; null if there is no such time. */
export function timeOf({ numbers: [first, second, third], hour, minute, seconds }, order) {
  const [written, month, day] = { ymd: [first, second, third], dmy: [third, second, first], mdy: [third, first, second] }[order];
  const year = written < 100 ? written + 2000 : written;
  if (year > 9999 || hour > 23 || minute > 59 || seconds > 59) return null;
  const time = new Date(Date.UTC(year, month - 1, day, hour, minute, seconds));
  return time.getUTCMonth() === month - 1 && time.getUTCDate() === day ? time.getTime() : null;
}

/**
 * The orders in which a whole file makes sense: every day exists, and no message is before the one above it by more than a day.
 * A date with points is never written with the month first.
 */
export function dateOrders(headers) {
  const orders = { ymd: { fits: 0, backwards: 0, latest: null }, dmy: { fits: 0, backwards: 0, latest: null }, mdy: { fits: 0, backwards: 0, latest: null } };
  let withDots = false;
  for (const each of headers) {
    withDots ||= each.hasDots;
    for (const [order, seen] of Object.entries(orders)) {
      const time = timeOf(each, order);
      if (time === null || (order === "ymd") !== each.numbers[0] > 99) continue;
      seen.fits++;
      if (seen.latest !== null && seen.latest - time >= DAY) seen.backwards++;
      seen.latest = time;
    }
  }
  const most = Math.max(...Object.values(orders).map((seen) => seen.fits));
  if (most === 0) return [];
  const left = Object.entries(orders).filter(([order, seen]) => seen.fits === most && !(order === "mdy" && withDots));
  const fewest = Math.min(...left.map(([, seen]) => seen.backwards));
  return left.filter(([, seen]) => seen.backwards === fewest).map(([order]) => order);
}

/** A text without the marks of the writing direction, and spaces, around it. */
export const withoutMarks = (text) => stripped(text, `${MARKS} \u00a0\u202f`);
