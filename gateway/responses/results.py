"""What the ML service tells of jobs becomes what drafts' rows say and what the accounts' readers are told."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import structlog
from asyncpg import Record

from gateway.database import Database, Db
from gateway.events.publisher import EventPublisher
from gateway.events.schemas import DraftToken
from gateway.responses import job_queries
from gateway.responses.announcing import details_of_row, ending_of, event_of, once_key
from gateway.responses.drafting import public_candidate, public_confidence, without_oldest
from gateway.responses.jobs import Completion, Ending, JobKey
from gateway.responses.schemas import DraftDetails
from gateway.responses.unwanted import UnwantedJobs
from gateway.wire import storable
from shared.contracts.generation import GenerateResponse
from shared.redis_events import JobEvent

Step: TypeAlias = Coroutine[Any, Any, None]

_NO_REASON = "The model could not write this draft; ask for a new one"
_LONGEST_NAME = 300  # characters, of a model with its adapter

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _News:
    """An event of a draft's job."""

    key: JobKey
    event: JobEvent


class JobResults:
    """Takes in what became of jobs. Each result is stored once and told once, however often and by whichever gateways it is taken in."""

    def __init__(self, database: Database, events: EventPublisher, unwanted: UnwantedJobs) -> None:
        self._database = database
        self._events = events
        self._unwanted = unwanted

    def may_be_lost(self, event: JobEvent) -> bool:
        """A piece of text is for those who look on now."""
        return event.type == "token"

    async def take(self, told: Sequence[JobEvent]) -> None:
        """Store what jobs brought; then tell the accounts' readers, in the order in which it came.

        Events of jobs that are no draft's are left alone.

        Raises:
            Unavailable: PostgreSQL or Redis is away. Call it again with all but the tokens: nothing is stored or told twice.
        """
        news = [each for each in map(_news, told) if each is not None]
        changes = [each for each in news if each.event.type != "token"]
        rows: dict[JobKey, Record] = {}
        if changes and all(each.event.type == "generating" for each in changes):
            async with self._database.connection() as db:  # one statement, as a rule: most jobs begin alone
                rows = await _store(db, changes, lazily=True)
        elif changes:
            async with self._database.transaction() as db:
                rows = await _store(db, changes, lazily=False)
        await _all([step for each in news for step in self._steps(each, rows.get(each.key))])

    async def announce(self, key: JobKey) -> None:
        """Tell how a draft ended, if nobody was told yet.

        Raises:
            Unavailable: as `take`.
        """
        async with self._database.connection() as db:
            rows = await job_queries.read(db, [key])
        await _all([step for row in rows for step in self._how_it_ended(row)])

    def _steps(self, news: _News, row: Record | None) -> list[Step]:
        """What readers are to be told now that the row says what it says."""
        if news.event.type == "token":
            return [self._tell_token(news)]
        if news.event.type != "generating":
            return self._how_it_ended(row) if row is not None else []
        if row is None or row["status"] in ("cancelled", "failed"):  # a row is there before its job: where there is none it was deleted
            self._unwanted.cancel(news.key.response_id)
            return []
        return [self._tell(row["account_id"], details_of_row(row))] if row["status"] == "generating" else []

    def _how_it_ended(self, row: Record) -> list[Step]:
        if row["status"] in ("queued", "generating"):
            return []
        return [self._tell(row["account_id"], draft) for draft in ending_of(row)]

    async def _tell(self, account_id: UUID, draft: DraftDetails) -> None:
        event = event_of(draft)
        await self._events.deliver(account_id, event.type, draft, once=once_key(draft), about=event.about)

    async def _tell_token(self, news: _News) -> None:
        if self._events.tokens_wanted(news.key.account_id):
            event = news.event
            token = DraftToken(response_id=news.key.response_id, index=event.index, sequence=event.sequence, text=event.text or "")
            self._events.publish_token(news.key.account_id, token)


async def _store(db: Db, news: Sequence[_News], *, lazily: bool) -> dict[JobKey, Record]:
    """Change the rows of what is still wanted. Who comes second changes nothing.

    Returns:
        All the drafts that there are, as their rows are then.
    """
    completed = [(each.key, each.event.result) for each in news if each.event.type == "completed" and each.event.result is not None]
    ended = [each for each in news if each.event.type in ("failed", "cancelled")]
    changed: list[Record] = []
    if begun := [each.key for each in news if each.event.type == "generating"]:
        changed += await job_queries.begin(db, begun, lazily=lazily)
    if completed:
        for key, result in completed:
            if result.dropped_messages:
                await _cut_prompt(db, key, result.dropped_messages)
        changed += await job_queries.complete(db, [_completion(key, result) for key, result in completed])
    if ended:
        changed += await job_queries.end(db, [_ending(each) for each in ended])
    rows = {_key(row): row for row in changed}
    if late := [each.key for each in news if each.key not in rows]:
        if over := [key for key, _ in completed if key not in rows] + [each.key for each in ended if each.key not in rows]:
            await job_queries.settle(db, over)
        rows |= {_key(row): row for row in await job_queries.read(db, late)}
    return rows


async def _cut_prompt(db: Db, key: JobKey, dropped: int) -> None:
    """Keep of the prompt what the model read of it: samples are made of that."""
    prompt = await job_queries.lock_prompt(db, key.account_id, key.response_id)
    if prompt is not None:
        await job_queries.cut_prompt(db, key.account_id, key.response_id, without_oldest(prompt, dropped))


async def _all(steps: Sequence[Step]) -> None:
    """Run steps at once; they start in their order, and each gives its event to the publisher as soon as it starts."""
    if not steps:
        return
    outcomes = await asyncio.gather(*steps, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome


def _news(event: JobEvent) -> _News | None:
    """None if this is no draft's job: others may use the queue too."""
    if event.type == "completed" and event.result is None:
        _logger.error("job event has no result", job_id=event.job_id)
        return None
    try:
        return _News(JobKey(UUID(event.scope), UUID(event.job_id)), event)
    except ValueError:
        return None


def _key(row: Record) -> JobKey:
    return JobKey(row["account_id"], row["id"])


def _completion(key: JobKey, result: GenerateResponse) -> Completion:
    return Completion(
        whose=key.account_id,
        which=key.response_id,
        draft=storable(result.response),
        drafts=[public_candidate(candidate) for candidate in result.candidates],
        probability=public_confidence(result.confidence),
        model=storable(result.model_version)[:_LONGEST_NAME],
        tokens=result.tokens_used,
        was_cached=result.cached,
    )


def _ending(news: _News) -> Ending:
    why = storable(news.event.error or _NO_REASON) if news.event.type == "failed" else None
    return Ending(whose=news.key.account_id, which=news.key.response_id, how=news.event.type, why=why)
