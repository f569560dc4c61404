// What threads and people are called.
import { texts } from "./texts.js";

/** A thread's own name, or the names of who is in it. */
export function threadName(conversation) {
  const people = conversation.participants.map((participant) => participant.displayName).join(", ");
  return conversation.displayName || people || texts.threads.unnamed;
}

/** `peer` is what the thread is called, where only one other person is in it. */
export function senderName(message, peer = null) {
  return message.direction === "outgoing" ? texts.threads.you : message.senderName || peer || message.senderId;
}
