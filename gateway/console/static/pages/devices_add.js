// The dialog that announces another device and shows how to pair it: by link, QR code, or id and code.
import { create, get, newKey } from "../api.js";
import { Dialog } from "../components/dialog.js";
import { Icon } from "../components/icons.js";
import { notify } from "../components/notice.js";
import { QrCode } from "../components/qr.js";
import { Failure, Loading } from "../components/states.js";
import { html, useEffect, useId, useState } from "../lib.js";
import { address } from "../router.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";

const words = texts.deviceAdd;
const LOOK_EVERY = 1500; // milliseconds: no event tells that a device was paired
const LOOPBACK = ["127.0.0.1", "localhost", "[::1]"];

/** `known` is a device of the account that shall have a new code; without one the dialog asks which device it is. */
export function AddDevice({ known, onClose }) {
  const [device, setDevice] = useState(null);
  const task = useTask(async (body) => setDevice({ ...(await create("/api/devices/register", body)), body }));
  useEffect(() => known && task.run(bodyOf(known)), []);
  const again = () => task.run(device?.body ?? bodyOf(known));
  return html`<${Dialog} title=${known ? words.againTitle(known.name) : words.title} onClose=${onClose}>
    ${task.error && html`<${Failure} error=${task.error} retry=${(device || known) && again} />`}
    ${device && html`<${Announced} key=${device.code} device=${device} again=${again} onClose=${onClose} />`}
    ${!device && (known ? html`<${Loading} lines=${4} />` : html`<${Form} announce=${task.run} busy=${task.busy} onClose=${onClose} />`)}
  <//>`;
}

const bodyOf = ({ name, hardwareId, platform, osVersion }) => ({ name, hardwareId, platform, osVersion });

function Form({ announce, busy, onClose }) {
  const id = useId();
  const [name, setName] = useState("");
  const [platform, setPlatform] = useState("web");
  const [hardwareId] = useState(newKey);
  const submit = (event) => (event.preventDefault(), announce({ name: name.trim(), hardwareId, platform, osVersion: words.unknownVersion }));
  return html`<form onSubmit=${submit}>
    <p>${words.lead}</p>
    <div class="fields">
      <div class="field">
        <label for=${`${id}-name`}>${words.name}</label>
        <input id=${`${id}-name`} required maxlength="200" pattern=".*\\S.*" placeholder=${words.namePlaceholder} value=${name} onInput=${(event) => setName(event.target.value)} />
      </div>
      <div class="field">
        <label for=${`${id}-platform`}>${words.platform}</label>
        <select id=${`${id}-platform`} value=${platform} onChange=${(event) => setPlatform(event.target.value)}>
          ${Object.entries(texts.devices.platforms).map(([value, label]) => html`<option key=${value} value=${value}>${label}</option>`)}
        </select>
      </div>
    </div>
    <div class="dialog-actions">
      <button type="button" class="button" onClick=${onClose}>${texts.common.cancel}</button>
      <button class="button primary" disabled=${busy}>${words.announce}</button>
    </div>
  </form>`;
}

function Announced({ device, again, onClose }) {
  const paired = usePaired(device.deviceId);
  const left = useSecondsLeft(device.expiresAt);
  const link = new URL(address(["pair", device.deviceId, device.code]), location.origin).href;
  if (paired) {
    return html`<div class="paired" role="status">
      <span class="paired-mark"><${Icon} name="check" /></span>
      <p>${words.paired(device.body.name)}</p>
      <button type="button" class="button primary" onClick=${onClose}>${words.done}</button>
    </div>`;
  }
  if (left <= 0) {
    return html`<p role="status">${words.expired}</p>
      <div class="dialog-actions"><button type="button" class="button primary" onClick=${again}>${words.again}</button></div>`;
  }
  return html`<div class="announced">
    <div class="announced-qr"><${QrCode} text=${link} label=${words.qrLabel} /></div>
    <div>
      <p>${words.scan}</p>
      ${LOOPBACK.includes(location.hostname) && html`<p class="quiet">${words.onlyHere}</p>`}
      <${Copyable} label=${words.link} value=${link} />
      <${Copyable} label=${words.deviceId} value=${device.deviceId} />
      <${Copyable} label=${words.code} value=${device.code} large />
      <p class="quiet">${words.waiting(left)}</p>
    </div>
  </div>`;
}

function Copyable({ label, value, large = false }) {
  const copy = () => navigator.clipboard.writeText(value).then(() => notify(texts.common.copied), () => notify(words.notCopied));
  return html`<div class="copyable">
    <span class="copyable-label">${label}</span>
    <code class=${large ? "copyable-value large" : "copyable-value"}>${value}</code>
    <button type="button" class="icon-button" aria-label=${words.copyThis(label)} title=${texts.common.copy} onClick=${copy}><${Icon} name="copy" /></button>
  </div>`;
}

/** Whether the device has been paired meanwhile. */
function usePaired(deviceId) {
  const [paired, setPaired] = useState(false);
  useEffect(() => {
    const look = async () => {
      const { devices } = await get("/api/devices").catch(() => ({ devices: [] }));
      setPaired((before) => before || devices.some((device) => device.id === deviceId && device.status === "active"));
    };
    const timer = setInterval(look, LOOK_EVERY);
    return () => clearInterval(timer);
  }, [deviceId]);
  return paired;
}

function useSecondsLeft(moment) {
  const left = () => Math.round((new Date(moment) - Date.now()) / 1000);
  const [seconds, setSeconds] = useState(left);
  useEffect(() => {
    const timer = setInterval(() => setSeconds(left()), 1000);
    return () => clearInterval(timer);
  }, [moment]);
  return seconds;
}
