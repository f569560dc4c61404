// The devices of the account: which there are, another one, and shutting one out.
import { get, post } from "../api.js";
import { Confirmation } from "../components/dialog.js";
import { Chip } from "../components/facts.js";
import { Icon } from "../components/icons.js";
import { Loaded } from "../components/loaded.js";
import { notify } from "../components/notice.js";
import { Page } from "../components/page.js";
import { Failure } from "../components/states.js";
import { short, whole } from "../format.js";
import { html, useState } from "../lib.js";
import { useLoad } from "../loading.js";
import { forget } from "../session.js";
import { useTask } from "../tasks.js";
import { texts } from "../texts.js";
import { AddDevice } from "./devices_add.js";

const words = texts.devices;
const KINDS = { active: "good", pending: "busy", deactivated: "plain" };
const ICONS = { web: "browser", ios: "phone", android: "phone", macos: "laptop", windows: "laptop", linux: "laptop" };
const ORDER = ["active", "pending", "deactivated"];

export function DevicesPage() {
  const [adding, setAdding] = useState(null); // `{}` is a new device, else one of the list
  const [leaving, setLeaving] = useState(null);
  const devices = useLoad((signal) => get("/api/devices", undefined, { signal }), [], { on: ["device:deactivated", "device:token_reused"] });
  const actions = html`<button type="button" class="button primary" onClick=${() => setAdding({})}>
    <${Icon} name="plus" />${words.add}
  </button>`;
  const added = () => {
    setAdding(null);
    devices.reload();
  };
  return html`<${Page} title=${words.title} actions=${actions}>
    <p class="lead">${words.lead}</p>
    <${Loaded} of=${devices}>
      ${({ devices: list }) => html`<ul class="cards" aria-label=${words.title}>
        ${sorted(list).map((device) => html`<${Device} key=${device.id} device=${device} onPair=${() => setAdding({ device })} onDeactivate=${() => setLeaving(device)} />`)}
      </ul>`}
    <//>
    ${adding && html`<${AddDevice} known=${adding.device} onClose=${added} />`}
    ${leaving && html`<${Deactivation} device=${leaving} onDone=${devices.reload} onClose=${() => setLeaving(null)} />`}
  <//>`;
}

/** This one first, then those that are paired, each kind as the gateway lists it. */
const sorted = (list) => [...list].sort((one, other) => other.current - one.current || ORDER.indexOf(one.status) - ORDER.indexOf(other.status));

/** Browsers say a lot about themselves here; what was added on this page says nothing until it is paired. */
const shownVersion = (version) => (version.length < 30 && version !== texts.deviceAdd.unknownVersion ? ` ${version}` : "");

function Device({ device, onPair, onDeactivate }) {
  const { name, platform, osVersion, status, current, lastSeenAt, createdAt } = device;
  return html`<li class="card device" data-status=${status}>
    <span class="device-icon"><${Icon} name=${ICONS[platform] ?? "devices"} /></span>
    <div class="device-words">
      <div class="card-head">
        <h2>${name}</h2>
        ${current && html`<${Chip} kind="accent">${words.current}<//>`}
        ${status !== "active" && html`<${Chip} kind=${KINDS[status]}>${words.status[status]}<//>`}
      </div>
      <p class="quiet">
        ${words.platforms[platform] ?? platform}${shownVersion(osVersion)} ·${" "}
        <time datetime=${lastSeenAt ?? createdAt} title=${whole(lastSeenAt ?? createdAt)}>
          ${current ? words.now : lastSeenAt ? words.lastSeen(short(lastSeenAt)) : words.announced(short(createdAt))}
        </time>
      </p>
    </div>
    ${status === "active"
      ? html`<button type="button" class="button" aria-label=${words.deactivateThis(name)} onClick=${onDeactivate}>${words.deactivate}</button>`
      : html`<button type="button" class="button" aria-label=${words.pairThis(name)} onClick=${onPair}>${words.pair}</button>`}
  </li>`;
}

function Deactivation({ device, onDone, onClose }) {
  const task = useTask(async () => {
    await post(`/api/devices/${device.id}/deactivate`);
    if (device.current) return forget();
    notify(words.deactivated(device.name));
    onDone();
    onClose();
  });
  return html`<${Confirmation}
    title=${words.deactivateTitle(device.name)}
    text=${device.current ? words.deactivateCurrent : words.deactivateText}
    confirm=${words.deactivate}
    busy=${task.busy}
    onConfirm=${task.run}
    onClose=${onClose}
  >
    ${task.error && html`<${Failure} error=${task.error} />`}
  <//>`;
}
