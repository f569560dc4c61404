"""What a training learns from."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.database import Db
from gateway.errors import BadRequest
from gateway.message_text.blank import is_blank
from gateway.message_text.comparing import same_words
from gateway.samples import queries
from gateway.samples.personal_data import mask, mask_turns, says_something
from shared.contracts.generation import Turn
from shared.contracts.training import TrainingMethod, TrainingSample

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
    if wanted is not None:
        unknown = len(wanted) - await queries.count_known(db, account_id, wanted)
        if unknown:
            raise BadRequest.field("sampleIds", f"{unknown} of these samples are not there; list the samples again")
    select = queries.outputs if method == "sft" else queries.preferences
    chosen = _Chosen(method)
    async for rows in await select(db, account_id, wanted, limit):
        if await asyncio.to_thread(chosen.add, rows):
            continue
        if wanted is not None:
            raise BadRequest.field("sampleIds", f"these samples have more than {MOST_BYTES // 2**20} MiB of text; choose fewer")
        break
    return chosen.all()


class _Chosen:
    """What a training learns from, newest first, as it is read."""

    def __init__(self, method: TrainingMethod) -> None:
        self._method = method
        self._samples: list[TrainingSample] = []
        self._sources: list[UUID] = []
        self._bytes = 0

    def add(self, rows: Sequence[Record]) -> bool:
        """Take in samples; False when one had no room any more."""
        for row in rows:
            rejected = row["rejected_output"] if self._method == "dpo" else None
            sample = _sample(row, rejected)
            if not says_something(sample.output) or (rejected is not None and (is_blank(rejected) or same_words(row["output"], rejected))):
                continue
            self._bytes += len(msgspec.json.encode(sample))
            if self._bytes > MOST_BYTES:
                return False
            self._samples.append(sample)
            self._sources += [row["rejected_id"], row["id"]] if self._method == "dpo" else [row["id"]]
        return True

    def all(self) -> TrainingSet:
        return TrainingSet(samples=self._samples[::-1], sample_ids=list(dict.fromkeys(self._sources[::-1])))


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
