// Times and sizes as people read them; times are in the browser's zone.
import { texts } from "./texts.js";

const LOCALE = navigator.languages?.find((language) => language.startsWith("en")) ?? "en-GB";
const DAY = 24 * 60 * 60 * 1000;

const formats = {
  time: new Intl.DateTimeFormat(LOCALE, { hour: "numeric", minute: "2-digit" }),
  weekday: new Intl.DateTimeFormat(LOCALE, { weekday: "long" }),
  day: new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short" }),
  dayOfYear: new Intl.DateTimeFormat(LOCALE, { day: "numeric", month: "short", year: "numeric" }),
  longDay: new Intl.DateTimeFormat(LOCALE, { weekday: "long", day: "numeric", month: "long" }),
  longDayOfYear: new Intl.DateTimeFormat(LOCALE, { weekday: "long", day: "numeric", month: "long", year: "numeric" }),
  moment: new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium", timeStyle: "short" }),
  date: new Intl.DateTimeFormat(LOCALE, { dateStyle: "medium" }),
  wallDate: new Intl.DateTimeFormat(LOCALE, { dateStyle: "long", timeZone: "UTC" }),
  whole: new Intl.DateTimeFormat(LOCALE, { dateStyle: "full", timeStyle: "short" }),
};

/** `14:05`. */
export const time = (moment) => formats.time.format(new Date(moment));

/** The whole date, for titles. */
export const whole = (moment) => formats.whole.format(new Date(moment));

/** A date with its time, for headings. */
export const moment = (then) => formats.moment.format(new Date(then));

/** A date without a time. */
export const date = (moment) => formats.date.format(new Date(moment));

/** The date of a wall clock's time, as milliseconds that pretend it to be UTC. */
export const longDate = (time) => formats.wallDate.format(new Date(time));

/** As short as it can be told from others: the time today, the weekday of the last days, else the date. */
export function short(moment) {
  const then = new Date(moment);
  const days = daysAgo(then);
  if (days === 0) return time(then);
  if (days === 1) return texts.thread.yesterday;
  if (days > 1 && days < 7) return formats.weekday.format(then);
  return (then.getFullYear() === new Date().getFullYear() ? formats.day : formats.dayOfYear).format(then);
}

/** What stands between the messages of two days. */
export function day(moment) {
  const then = new Date(moment);
  const days = daysAgo(then);
  if (days === 0) return texts.thread.today;
  if (days === 1) return texts.thread.yesterday;
  return (then.getFullYear() === new Date().getFullYear() ? formats.longDay : formats.longDayOfYear).format(then);
}

export const sameDay = (one, other) => new Date(one).toDateString() === new Date(other).toDateString();

/** `1.2 MB`; nothing for a size that nobody said. */
export function size(bytes) {
  if (bytes === null || bytes === undefined) return "";
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  const power = Math.min(units.length - 1, bytes < 1000 ? 0 : Math.floor(Math.log10(bytes) / 3));
  const options = { style: "unit", unit: units[power], unitDisplay: power ? "short" : "long", maximumFractionDigits: power > 1 ? 1 : 0 };
  return new Intl.NumberFormat(LOCALE, options).format(bytes / 1000 ** power);
}

/** How long something took, `3 min 5 s`. */
export function duration(begin, end) {
  const seconds = Math.max(0, Math.round((new Date(end) - new Date(begin)) / 1000));
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${seconds % 60} s` : `${seconds} s`;
}

function daysAgo(then) {
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate());
  return Math.round((midnight(new Date()) - midnight(then)) / DAY);
}
