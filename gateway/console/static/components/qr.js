// A QR code, drawn as one path.
import { html, useEffect, useState } from "../lib.js";

const QUIET_ZONE = 4; // modules around it, as ISO/IEC 18004 asks for

/** The code of a text; nothing until the encoder is loaded. Dark on light in both colour schemes: many readers know no other. */
export function QrCode({ text, label }) {
  const [code, setCode] = useState(null);
  useEffect(() => {
    let wanted = true;
    import("../vendor/uqr.js").then(({ encode }) => wanted && setCode(encode(text, { ecc: "M", border: QUIET_ZONE })));
    return () => (wanted = false);
  }, [text]);
  if (!code) return html`<div class="qr" />`;
  return html`<svg class="qr" viewBox=${`0 0 ${code.size} ${code.size}`} role="img" aria-label=${label} shape-rendering="crispEdges">
    <rect width=${code.size} height=${code.size} fill="#fff" />
    <path fill="#000" d=${squares(code.data)} />
  </svg>`;
}

function squares(rows) {
  return rows.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x} ${y}h1v1h-1z` : ""))).join("");
}
