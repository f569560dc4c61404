// What a training's state and end are called.
import { texts } from "../texts.js";

const words = texts.trainings;

export const TRAINING_EVENTS = ["training:progress", "training:completed", "training:failed", "training:cancelled"];
export const STATUS_KINDS = { queued: "busy", training: "busy", evaluating: "busy", completed: "good", failed: "bad", cancelled: "plain" };
export const runs = (job) => STATUS_KINDS[job.status] === "busy";

/** The state or the end of a training in a sentence. */
export function outcome(job) {
  if (job.status === "failed") return job.error ?? words.failed;
  if (job.status === "cancelled") return job.error ?? words.cancelled;
  if (job.status !== "completed") return words.running[job.status];
  return job.activated ? words.better(improvement(job)) : words.notInUse;
}

/** By which share the held-out loss is lower, in per cent; negative where it is higher, null where it is not known. */
export function improvement({ evalLoss, baselineEvalLoss }) {
  if (evalLoss === null || baselineEvalLoss === null || baselineEvalLoss <= 0) return null;
  return (1 - evalLoss / baselineEvalLoss) * 100;
}
