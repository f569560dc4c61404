"""What a training learns from."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.database import Db
from gateway.errors import BadRequest
from gateway.message_text import is_blank, same_words
from gateway.training import queries
from gateway.training.personal_data import mask, mask_turns, says_something
from shared.contracts.generation import Turn
from shared.contracts.training import TrainingMethod, TrainingSample


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSet:
    """`samples` in the order they were said; `sample_ids` of all samples whose text is in them: a preference pair can be of two."""

    samples: list[TrainingSample]
    sample_ids: list[UUID]


async def training_set(db: Db, account_id: UUID, *, method: TrainingMethod, sample_ids: Sequence[UUID] | None, limit: int) -> TrainingSet:
    """The newest `limit` samples that can be learnt from, out of those named or out of all.

    `sft`: every output that is worth something. `dpo`: outputs over rejected drafts, of the same draft (an edit) or of another one to the
    same message; a pair goes by the id of its output. Personal data is masked, except in history, where the import decided that.

    Raises:
        BadRequest: the account does not have all of `sample_ids`.
    """
    wanted = None if sample_ids is None else list(set(sample_ids))
    if wanted is not None:
        unknown = len(wanted) - await queries.count_known(db, account_id, wanted)
        if unknown:
            raise BadRequest.field("sampleIds", f"{unknown} of these samples are not there; list the samples again")
    select = queries.outputs if method == "sft" else queries.preferences
    rows = await select(db, account_id, wanted, limit)
    return await asyncio.to_thread(_training_set, rows[::-1], method)


def _training_set(rows: Sequence[Record], method: TrainingMethod) -> TrainingSet:
    samples: list[TrainingSample] = []
    sources: dict[UUID, None] = {}
    for row in rows:
        rejected = row["rejected_output"] if method == "dpo" else None
        sample = _sample(row, rejected)
        if not says_something(sample.output) or (rejected is not None and (is_blank(rejected) or same_words(row["output"], rejected))):
            continue
        samples.append(sample)
        sources.update(dict.fromkeys([row["id"], row["rejected_id"]] if method == "dpo" else [row["id"]]))
    return TrainingSet(samples=samples, sample_ids=list(sources))


def _sample(row: Record, rejected: str | None) -> TrainingSample:
    turns, output = msgspec.convert(row["messages"], list[Turn]), row["output"]
    if row["source"] != "history":
        asked = turns[-1].content
        turns, output = mask_turns(turns), mask(output, asked)
        rejected = rejected if rejected is None else mask(rejected, asked)
    return TrainingSample(
        id=str(row["id"]),
        messages=turns,
        output=output,
        rejected_output=rejected,
        quality=round(row["quality"], 4),
        # Past replies of a thread follow each other; what was done with a draft stands by itself.
        thread=str(row["conversation_id"]) if row["source"] == "history" and rejected is None else None,
        at=row["replied_at"],
    )
