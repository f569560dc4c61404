// The loss of a training by step, as it goes on, and the held-out losses as lines across.
import { html, useEffect, useRef } from "../lib.js";
import { texts } from "../texts.js";

const HEIGHT = 220;
const words = texts.trainings;

/** `history` is `[{ step, loss }]`; a table with the same figures is there for who cannot see the drawing. */
export function LossCurve({ history, totalSteps, before, after }) {
  const place = useRef(null);
  const drawing = useRef(null);
  const data = dataOf(history, totalSteps, before, after);
  const latest = useRef(data);
  latest.current = data;
  useEffect(() => {
    const made = draw(place.current, data);
    made.then((plot) => {
      drawing.current = plot;
      plot?.show(latest.current); // of what came while it was made
    });
    return () => made.then((plot) => plot?.close());
  }, []);
  useEffect(() => drawing.current?.show(data), [history.length, history.at(-1)?.loss, totalSteps, before, after]);
  const [first, last] = [history[0], history.at(-1)];
  return html`<figure class="curve">
    <div ref=${place} class="curve-plot" role="img" aria-label=${words.curveLabel(first.loss, last.loss, last.step)} />
    <figcaption>
      <span class="curve-key" data-line="loss">${words.curveLoss}</span>
      ${known(before) && html`<span class="curve-key" data-line="before">${words.curveBefore(before)}</span>`}
      ${known(after) && html`<span class="curve-key" data-line="after">${words.curveAfter(after)}</span>`}
    </figcaption>
  </figure>`;
}

const known = (loss) => loss !== null && loss !== undefined;

function dataOf(history, totalSteps, before, after) {
  const steps = history.map((point) => point.step);
  const losses = history.map((point) => point.loss);
  if (totalSteps > steps.at(-1)) {
    steps.push(totalSteps); // the axis is as long as the training will be
    losses.push(null);
  }
  const level = (loss) => steps.map(() => (known(loss) ? loss : null));
  return [steps, losses, level(before), level(after)];
}

/** Draws into an element, in its width and the colours of the page, and anew when either changes. */
async function draw(element, data) {
  const { default: UPlot } = await import("../vendor/uplot.js");
  if (!element.isConnected) return null;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  let shown = data;
  let plot = null;
  const redraw = () => {
    plot?.destroy();
    plot = new UPlot(options(element), shown, element);
  };
  const resized = new ResizeObserver(() => plot.setSize({ width: element.clientWidth, height: HEIGHT }));
  redraw();
  resized.observe(element);
  dark.addEventListener("change", redraw);
  return {
    show: (newer) => plot.setData((shown = newer)),
    close: () => {
      resized.disconnect();
      dark.removeEventListener("change", redraw);
      plot.destroy();
    },
  };
}

/** A colour of the style sheet as a canvas takes it: resolved for light or dark. */
function colourOf(element, name) {
  const probe = element.appendChild(document.createElement("span"));
  probe.style.color = `var(${name})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  return color;
}

function options(element) {
  const colour = (name) => colourOf(element, name);
  const axis = { stroke: colour("--curve-text"), grid: { stroke: colour("--curve-grid"), width: 1 }, ticks: { show: false } };
  const line = (name, dash) => ({ stroke: colour(name), width: 2, dash, points: { show: false }, spanGaps: true });
  return {
    width: element.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { show: false },
    padding: [12, 12, 0, 0],
    scales: { x: { time: false } },
    axes: [{ ...axis, size: 32, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000] }, { ...axis, size: 48 }],
    series: [{}, { ...line("--curve-loss"), points: { show: true, size: 4 } }, line("--curve-before", [4, 4]), line("--curve-after", [8, 4])],
  };
}
