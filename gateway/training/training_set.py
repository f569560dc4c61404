"""What a training learns from."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from gateway.database import Db
from gateway.message_text.blank import is_blank
from gateway.message_text.comparing import same_words
from gateway.samples.personal_data import mask, mask_turns, says_something
from gateway.samples.schemas import TaughtSample
from gateway.samples.service import existing, taught
from shared.contracts.training import TrainingMethod, TrainingSample
from shared.errors import BadRequest

MOST_BYTES = 24 * 2**20
"""Of a training's samples as they go to the ML service, which takes 32 MiB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """`samples` in the order they were said; `sample_ids` of all samples whose text is in them: a preference pair can be of two."""

    samples: list[TrainingSample]
    sample_ids: list[UUID]


async def training_set(db: Db, account_id: UUID, *, method: TrainingMethod, sample_ids: Sequence[UUID] | None, limit: int) -> TrainingSet:
    """The newest `limit` samples that can be learnt from, out of those named or out of all; of all as many as `MOST_BYTES` hold. They are
    read some at a time, inside the caller's transaction: no more than that is ever in memory.

    `sft`: every output that is worth something. `dpo`: outputs over rejected drafts, of the same draft (an edit) or of another one to the
    same message; a pair goes by the id of its output. Personal data is masked, except in history, where the import decided that.

    Raises:
        BadRequest: the account does not have all of `sample_ids`, or they have too much text.
    """
    wanted = None if sample_ids is None else list(set(sample_ids))
    if wanted is not None and (unknown := len(wanted) - len(await existing(db, account_id, wanted))):
        raise BadRequest.field("sampleIds", f"{unknown} of these samples are not there; list the samples again")
    samples: list[TrainingSample] = []
    sources: list[UUID] = []
    size = 0
    async for batch in taught(db, account_id, method, wanted, limit):
        for sample, source_ids in await asyncio.to_thread(_usable, batch):
            size += len(msgspec.json.encode(sample))
            if size > MOST_BYTES:
                if wanted is not None:
                    raise BadRequest.field("sampleIds", f"these samples have more than {MOST_BYTES // 2**20} MiB of text; choose fewer")
                return _in_order(samples, sources)
            samples.append(sample)
            sources += source_ids
    return _in_order(samples, sources)


def _in_order(samples: Sequence[TrainingSample], sources: Sequence[UUID]) -> TrainingSet:
    """What was read newest first."""
    return TrainingSet(samples=list(samples[::-1]), sample_ids=list(dict.fromkeys(sources[::-1])))


def _usable(batch: Sequence[TaughtSample]) -> list[tuple[TrainingSample, list[UUID]]]:
    """Those that say something and, if they are pairs, not the same twice; each with the ids of the samples that it is of."""
    usable: list[tuple[TrainingSample, list[UUID]]] = []
    for taught_sample in batch:
        rejected = taught_sample.rejected_output
        if rejected is not None and (is_blank(rejected) or same_words(taught_sample.output, rejected)):
            continue
        sample = _masked(taught_sample)
        if says_something(sample.output):
            rejected_id = taught_sample.rejected_id
            usable.append((sample, [taught_sample.id] if rejected_id is None else [rejected_id, taught_sample.id]))
    return usable


def _masked(sample: TaughtSample) -> TrainingSample:
    turns, output, rejected = sample.messages, sample.output, sample.rejected_output
    if sample.source != "history":
        asked = turns[-1].content
        turns, output = mask_turns(turns), mask(output, asked)
        rejected = None if rejected is None else mask(rejected, asked)
    return TrainingSample(
        id=str(sample.id),
        messages=turns,
        output=output,
        rejected_output=rejected,
        quality=round(sample.quality, 4),
        # Past replies of a thread follow each other; what was done with a draft stands by itself.
        thread=str(sample.conversation_id) if sample.source == "history" and rejected is None else None,
        at=sample.replied_at,
    )
