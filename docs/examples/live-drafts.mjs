// Shows an account's drafts while they are written, on whichever device they were asked for. Node.js 20 or a browser; no packages.
//
//   TOKEN=… node docs/examples/live-drafts.mjs          GATEWAY is http://127.0.0.1:3100 if you do not say
//
// In a page that the gateway's address serves, or one that is in CORS_ORIGINS:
//
//   import { liveDrafts } from "./live-drafts.mjs";
//   for await (const draft of liveDrafts("http://127.0.0.1:3100", token)) document.body.textContent = draft.text;

const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));

/** The drafts as they grow: `{id, status, text}`, again and again. */
export async function* liveDrafts(gateway, token) {
  const drafts = new Map();
  for await (const { type, data } of events(gateway, token)) {
    if (!type.startsWith("response:")) continue;
    const draft = drafts.get(data.responseId) ?? { id: data.responseId, status: "generating", text: "" };
    drafts.set(draft.id, draft);
    if (type === "response:token") draft.text += data.index === 0 ? data.text : ""; // of several candidates the first
    else Object.assign(draft, { status: data.status, text: data.response ?? draft.text });
    if (["completed", "failed", "cancelled"].includes(draft.status)) drafts.delete(draft.id);
    yield { ...draft };
  }
}

/** What happens from now on. After a break it comes back, and asks for what it missed. */
export async function* events(gateway, token) {
  let last = "";
  for (let pause = 500; ; pause = Math.min(2 * pause, 16000)) {
    try {
      const after = last && `&after=${last}`;
      const answer = await fetch(`${gateway}/api/events/stream?tokens=true${after}`, { headers: { Authorization: `Bearer ${token}` } });
      if (answer.status === 401 || answer.status === 403) return console.error((await answer.json()).message);
      for await (const { id, data } of answer.ok ? blocks(answer.body) : []) {
        pause = 500;
        if (id && data && !newer(id, last)) continue; // came twice
        last = id ?? last;
        if (data) yield JSON.parse(data);
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error; // what fetch throws when the connection breaks
    }
    await wait(pause * (0.5 + Math.random()));
  }
}

/** Server-sent events: each block of lines as an object of its fields. */
async function* blocks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let rest = "", part; !(part = await reader.read()).done; ) {
      const complete = (rest + part.value).split("\n\n");
      rest = complete.pop();
      yield* complete.map((block) => Object.fromEntries(block.split("\n").map((line) => line.split(/: ?(.*)/s, 2))));
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function newer(id, last) {
  const [[time, number], [lastTime, lastNumber]] = [id, last || "0-0"].map((each) => each.split("-").map(Number));
  return time > lastTime || (time === lastTime && number > lastNumber);
}

if (globalThis.process?.argv[1]?.endsWith("live-drafts.mjs")) {
  const { GATEWAY = "http://127.0.0.1:3100", TOKEN } = process.env;
  for await (const { id, status, text } of liveDrafts(GATEWAY, TOKEN)) console.log(id, status, JSON.stringify(text));
}
