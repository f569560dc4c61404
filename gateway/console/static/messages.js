// The messages of one thread, oldest first: the newest are there at once, older ones when they are asked for.
import { get } from "./api.js";
import { useEvents } from "./events.js";
import { useCallback, useEffect, useRef, useState } from "./lib.js";
import { useSoon } from "./loading.js";

const PAGE = 50;
const LARGEST_PAGE = 200;
const FARTHEST = 20_000; // messages that are looked through for one that was linked to

/** Loads at least as many as there were, and back to `wantedId`, if the thread has it. Asks again when the thread changes. */
export function useMessages(conversationId, wantedId) {
  const [result, setResult] = useState({ messages: null, cursor: null, error: null, loadingOlder: false });
  const latest = useRef(result);
  latest.current = result;
  const asked = useRef(null);

  const reload = useCallback(async () => {
    asked.current?.abort();
    const mine = (asked.current = new AbortController());
    try {
      const enough = latest.current.messages?.length ?? PAGE;
      const found = await newest(conversationId, enough, wantedId, mine.signal);
      if (mine === asked.current) setResult({ ...found, error: null, loadingOlder: false });
    } catch (error) {
      if (mine === asked.current && error.name !== "AbortError") setResult((before) => ({ ...before, error, loadingOlder: false }));
    }
  }, [conversationId, wantedId]);

  const loadOlder = useCallback(async () => {
    const { cursor, loadingOlder } = latest.current;
    if (!cursor || loadingOlder) return;
    setResult((before) => ({ ...before, loadingOlder: true }));
    const mine = asked.current;
    try {
      const page = await pageBefore(conversationId, cursor, PAGE, mine?.signal);
      if (mine !== asked.current) return; // everything was asked for anew meanwhile
      setResult((before) => ({ ...before, messages: [...page.messages, ...before.messages], cursor: page.cursor, error: null, loadingOlder: false }));
    } catch (error) {
      if (mine === asked.current && error.name !== "AbortError") setResult((before) => ({ ...before, error, loadingOlder: false }));
    }
  }, [conversationId]);

  useEffect(() => {
    reload();
    return () => asked.current?.abort();
  }, [reload]);

  const soon = useSoon(reload);
  useEvents(["sync:completed", "conversation:merged"], ({ type, data }) => {
    if (type === "replay:incomplete" || data.conversationId === conversationId) soon();
  });
  return { ...result, reload, loadOlder };
}

async function newest(conversationId, enough, wantedId, signal) {
  let messages = [];
  let cursor = null;
  const isEnough = () => messages.length >= enough && (!wantedId || messages.some((message) => message.id === wantedId));
  do {
    const page = await pageBefore(conversationId, cursor, enough > PAGE || messages.length ? LARGEST_PAGE : PAGE, signal);
    messages = [...page.messages, ...messages];
    cursor = page.cursor;
  } while (cursor && !isEnough() && messages.length < FARTHEST);
  return { messages, cursor };
}

async function pageBefore(conversationId, cursor, pageSize, signal) {
  const page = await get(`/api/conversations/${conversationId}/messages`, { before: cursor, pageSize }, { signal });
  return { messages: page.messages.reverse(), cursor: page.nextCursor };
}

/** What is shown as a message of its own: a reaction stands on the message that it is about. */
export const shown = (messages) => messages.filter((message) => message.messageType !== "reaction");

/** Whether a draft may answer it. The gateway knows more: what a phone wrote by itself it refuses. */
export const answerable = (message) =>
  message.direction === "incoming" && !message.retractedAt && message.messageType !== "reaction" && message.messageType !== "system" && Boolean(message.text?.trim());
