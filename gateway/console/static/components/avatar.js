import { html } from "../lib.js";

/** The first letters of a name. */
export function Avatar({ name, group = false }) {
  const words = name.replace(/[^\p{L}\p{N}\s]/gu, " ").split(/\s+/).filter((word) => /^\p{L}/u.test(word));
  const initials = [words[0], words.length > 1 ? words.at(-1) : ""].map((word) => [...(word ?? "")][0] ?? "").join("");
  return html`<span class="avatar" data-group=${group} aria-hidden="true">${initials.toUpperCase() || "#"}</span>`;
}
