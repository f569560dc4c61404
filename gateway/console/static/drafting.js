// One draft at a time, from asking for it to what the owner does with it. It knows nothing of how that looks.
import { create, get, post, request, newKey, stream } from "./api.js";
import { useEvents } from "./events.js";
import { useEffect, useRef, useState } from "./lib.js";
import { notify } from "./components/notice.js";
import { texts } from "./texts.js";

const words = texts.draft;
const IDLE = { phase: "idle", message: null, responseId: null, candidates: [], action: null, error: null };

/**
 * The draft that a thread shows. `phase` is idle, waiting (queued), writing, ready, done (judged), cancelled or failed;
 * `candidates` are `{ text, confidence, finishReason }`, growing while it is written.
 */
export function useDraft() {
  const [draft, setDraft] = useState(IDLE);
  const latest = useRef(draft);
  const abort = useRef(null);
  latest.current = draft;

  const change = (changes) => setDraft((before) => ({ ...before, ...changes }));
  useEffect(() => () => abort.current?.abort(), []);

  /** Draft an answer now; leaving or `stop` ends it. */
  async function write(message, count) {
    abort.current?.abort();
    const mine = (abort.current = new AbortController());
    setDraft({ ...IDLE, phase: "writing", message, candidates: empty(count) });
    try {
      for await (const { name, data } of stream("/api/responses/generate", { messageId: message.id, n: count }, mine.signal)) {
        if (mine !== abort.current) return;
        if (name === "token") setDraft((before) => grown(before, data));
        else if (name === "failed") change({ phase: "failed", error: data });
        else setDraft((before) => ended(before, data));
      }
      if (mine === abort.current && latest.current.phase === "writing") change({ phase: "failed", error: { message: texts.errors.brokenOff } });
    } catch (error) {
      if (mine === abort.current) change(error.name === "AbortError" ? { phase: "cancelled" } : { phase: "failed", error });
    }
  }

  /** Have it written when its turn comes, whatever happens here. */
  async function queue(message, count) {
    abort.current?.abort();
    abort.current = null;
    setDraft({ ...IDLE, phase: "waiting", message, candidates: empty(count) });
    try {
      const headers = { Prefer: "respond-async", "Cache-Control": "no-cache" };
      const answer = await request("POST", "/api/responses/generate", { body: { messageId: message.id, n: count }, headers, key: newKey() });
      const { responseId } = await answer.json();
      await follow(responseId);
      notify(words.queued);
    } catch (error) {
      change({ phase: "failed", error });
    }
  }

  /** Show a draft that there is already. */
  async function show(responseId, message) {
    abort.current?.abort();
    abort.current = null;
    setDraft({ ...IDLE, phase: "waiting", responseId, message, candidates: empty(1) });
    await follow(responseId);
  }

  async function follow(responseId) {
    change({ responseId });
    try {
      const details = await get(`/api/responses/${responseId}`);
      setDraft((before) => (before.responseId === responseId ? told(before, details) : before));
    } catch (error) {
      change({ phase: "failed", error });
    }
  }

  async function stop() {
    const { phase, responseId } = latest.current;
    if (phase !== "writing" && phase !== "waiting") return;
    if (abort.current) return abort.current.abort();
    try {
      setDraft(ended(latest.current, await post(`/api/responses/${responseId}/cancel`)));
    } catch (error) {
      if (error.status === 409) await follow(responseId); // it has just ended by itself
      else change({ phase: "failed", error });
    }
  }

  /** Accept, edit or reject candidate number `candidate`: `{ action: "edit", editedResponse: "…" }`. Whether it was taken. */
  async function judge(body, candidate) {
    const { responseId, candidates } = latest.current;
    try {
      await create(`/api/responses/${responseId}/action`, { ...body, candidate });
    } catch (error) {
      change({ error });
      return false;
    }
    const final = body.action === "edit" ? body.editedResponse : candidates[candidate].text;
    const copied = body.action !== "reject" && (await copy(final));
    change({ phase: "done", action: body.action, error: null, candidates: [{ ...candidates[candidate], text: final }] });
    notify(outcome(body.action, copied));
    return true;
  }

  useEvents(["response:generating", "response:token", "response:completed", "response:failed", "response:cancelled"], ({ type, data }) => {
    if (type === "replay:incomplete") {
      const { responseId, phase } = latest.current;
      if (responseId && isOpen(phase)) follow(responseId);
      return;
    }
    setDraft((before) => {
      if (before.responseId !== data.responseId || !isOpen(before.phase)) return before;
      return type === "response:token" ? grown(before, data) : ended(before, data);
    });
  });

  /** Show a draft that there is already, unless another one has been begun meanwhile. */
  const offer = (responseId, message) => latest.current.phase === "idle" && show(responseId, message);

  return { ...draft, write, queue, show, offer, stop, judge, dismiss: () => setDraft(IDLE) };
}

/** Put a text on the clipboard, if the browser lets us. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false; // without HTTPS there is no clipboard, and people may forbid it
  }
}

function outcome(action, copied) {
  if (action === "reject") return words.rejectedNote;
  if (action === "edit") return copied ? words.editedCopied : words.editedNotCopied;
  return copied ? words.acceptedCopied : words.acceptedNotCopied;
}

const empty = (count) => Array.from({ length: count }, () => ({ text: "" }));

/** With one more piece. Pieces of queued drafts are numbered over all candidates: after one that got lost the text waits for the whole. */
function grown(draft, { index, text, sequence = null }) {
  if (sequence !== null && sequence !== (draft.pieces ?? 0)) return draft;
  const candidates = [...draft.candidates];
  while (candidates.length <= index) candidates.push({ text: "" });
  candidates[index] = { ...candidates[index], text: candidates[index].text + text };
  return { ...draft, phase: "writing", candidates, pieces: (draft.pieces ?? 0) + 1 };
}

const isOpen = (phase) => phase === "waiting" || phase === "writing";

/** As an answer describes it, which may be older than an event that came before it: what has ended does not begin again. */
function told(draft, details) {
  const wasOpen = details.status === "queued" || details.status === "generating";
  return wasOpen && !isOpen(draft.phase) ? draft : ended(draft, details);
}

/** As the gateway describes it, in whatever state it is. */
function ended(draft, details) {
  const phases = { queued: "waiting", generating: "writing", completed: details.action ? "done" : "ready", failed: "failed", cancelled: "cancelled" };
  const whole = details.candidates ?? (details.response === null ? null : [{ text: details.response, confidence: details.confidence }]);
  const candidates = details.action === "edit" ? [{ text: details.editedResponse }] : (whole ?? draft.candidates);
  const error = details.status === "failed" ? { message: details.error ?? words.failed } : null;
  return { ...draft, phase: phases[details.status], responseId: details.responseId, candidates, action: details.action ?? null, error };
}
