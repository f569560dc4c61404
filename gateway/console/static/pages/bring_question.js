// What only the person knows of a file: who of its people they are, or in which order it has day and month.
import { longDate } from "../format.js";
import { answer, forget } from "../importing.js";
import { html, useId, useState } from "../lib.js";
import { texts } from "../texts.js";

const words = texts.bring;

export function Question({ question }) {
  const choices = question.ask === "owner" ? ownersOf(question) : ordersOf(question);
  const [chosen, setChosen] = useState(null);
  const id = useId();
  const submit = (event) => (event.preventDefault(), answer({ [question.ask]: chosen }));
  return html`<form onSubmit=${submit}>
    <p>${question.ask === "owner" ? words.ownerHint : words.orderHint(question.date)}</p>
    <div class="choices" role="radiogroup" aria-label=${words.questions[question.ask]}>
      ${choices.map(
        ({ value, text }) => html`<label key=${value} class="choice">
          <input type="radio" name=${id} required checked=${chosen === value} onChange=${() => setChosen(value)} /><span dir="auto">${text}</span>
        </label>`,
      )}
    </div>
    <div class="bring-actions">
      <button type="button" class="button" onClick=${forget}>${texts.common.cancel}</button>
      <button class="button primary" disabled=${chosen === null}>${words.goAhead}</button>
    </div>
  </form>`;
}

const ownersOf = ({ names }) => names.map((name) => ({ value: name, text: name }));

/** The same date, read in each way. The time pretends to be UTC. */
const ordersOf = ({ examples }) => examples.map(({ order, time }) => ({ value: order, text: time === null ? words.orders[order] : longDate(time) }));
