// Line icons on a grid of 24; they say nothing that a text beside them or a label does not.
import { html } from "../lib.js";

const paths = {
  threads: "M5 4h14a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2h-7l-5 4v-4H5a2 2 0 0 1-2-2V6a2 2 0 0 1 2-2z",
  drafts: "M4 20l1-4L16 5l3 3L8 19l-4 1zM14 7l3 3",
  samples: "M5 4h14v16H5zM8.5 8.5h7M8.5 12h7M8.5 15.5h4",
  trainings: "M4 4v16h16M7.5 9c2 6 5 7.500 11.500 8",
  voice: "M4 10v4M8 7v10M12 4v16M16 8v8M20 10v4",
  devices: "M4 5h12v9H4zM2.500 18h9M15 9.500h6v10.500h-6z",
  account: "M12 12a4 4 0 1 0 0-8 4 4 0 0 0 0 8zM4.500 20c1-4 4-5.500 7.500-5.500s6.500 1.500 7.500 5.500",
  system: "M4 5h16v6H4zM4 14h16v5H4zM7.500 8h.01M7.500 16.500h.01",
  search: "M10.500 17a6.500 6.500 0 1 0 0-13 6.500 6.500 0 0 0 0 13zM15.500 15.500L20 20",
  back: "M14.500 5l-7 7 7 7",
  close: "M6 6l12 12M18 6L6 18",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  keys: "M3 7h18v10H3zM7 10.500h.01M11 10.500h.01M15 10.500h.01M8.500 13.500h7",
  signOut: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
  file: "M7 3h7l4 4v14H7zM14 3v4h4",
  check: "M5 12.500l4.500 4.500L19 7.500",
  cross: "M7 7l10 10M17 7L7 17",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  bring: "M12 15V4M7 8.500l5-5 5 5M4 13v7h16v-7",
  refresh: "M19.500 12a7.500 7.500 0 1 1-2.200-5.300L20 9.500M20 4.500v5h-5",
  stop: "M7 7h10v10H7z",
  down: "M6 10l6 6 6-6",
  warning: "M12 4l9 16H3zM12 10v4.500M12 17.500h.01",
  plus: "M12 5v14M5 12h14",
  download: "M12 4v11M7 10.500l5 5 5-5M5 20h14",
  browser: "M3 5h18v14H3zM3 9.500h18M6 7.300h.01M9 7.300h.01",
  phone: "M7 3h10v18H7zM11 18h2",
  laptop: "M5 5h14v10H5zM2.500 19h19",
  trash: "M5 7h14M10 7V4.500h4V7M7 7l1 13h8l1-13",
};

/** Decorative: give what contains it a text or an `aria-label`. */
export function Icon({ name }) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${paths[name]} /></svg>`;
}
