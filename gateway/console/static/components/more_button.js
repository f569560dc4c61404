import { html, useEffect, useRef } from "../lib.js";

/** The end of what is loaded of a long list: loads on when it comes into sight, or by hand. */
export function MoreButton({ text, load, loading }) {
  const button = useRef(null);
  const latest = useRef(load);
  latest.current = loading ? () => {} : load;
  useEffect(() => {
    const seen = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && latest.current(), { rootMargin: "200px" });
    seen.observe(button.current);
    return () => seen.disconnect();
  }, [loading]);
  return html`<button ref=${button} type="button" class="button plain more-button" onClick=${() => latest.current()}>${text}</button>`;
}
