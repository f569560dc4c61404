// What every source gives, as plain objects: an item is `{ row, thread, message }`, a row that becomes no message `{ row, reason, isDamaged }`.
// `row` names it in the file and says nothing of its text; a thread is `{ identifier, displayName, isGroup, participantIds }`.

/** The sender id of the owner's messages. */
export const OWNER = "me";

/** Rows, or messages, that are read, checked and sent together. */
export const WINDOW = 1_000;

export const leftOut = (row, reason, isDamaged = false) => ({ row, reason, isDamaged });

/** Some rows of a source in a row, and the position behind them. */
export const newWindow = (position) => ({ position, items: [], leftOut: [] });

/** A time as it is sent. */
export const wireTime = (date) => date.toISOString().replace(".000Z", "Z");

/** An object without what is not known. */
export function known(object) {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined && value !== null));
}

/** A file that cannot be read this way. `reason` is one of those that `texts.bring.failures` has words for; `about` are names for them. */
export class Unreadable extends Error {
  constructor(reason, about = {}) {
    super(reason);
    this.reason = reason;
    this.about = about;
  }
}

/** The person has to say something that the file does not: `question` is `{ ask: "owner", names }` or `{ ask: "order", examples }`. */
export class Question extends Error {
  constructor(question) {
    super(question.ask);
    this.question = question;
  }
}
