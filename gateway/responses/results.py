"""What became of drafts: events of queued drafts' jobs, what is asked for when nothing was heard, and drafts whose gateway died."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog
from asyncpg import Record

from gateway.conversations.prompt import Prompt
from gateway.database import Database, Db
from gateway.events.publisher import EventPublisher
from gateway.events.schemas import DraftToken
from gateway.ml_client import MlClient
from gateway.responses import queries
from gateway.responses.queries import QueuedRequest, StoredDraft
from gateway.responses.service import complete, events_of, without_oldest
from gateway.wire import storable, utc_now
from shared.contracts.generation import GenerateResponse, Turn
from shared.errors import AppError, BadRequest
from shared.redis_events import JobEvent

_NO_REASON = "The model could not write this draft; ask for a new one"
_LONGEST = timedelta(days=1)
_TOO_LATE = "The model could not be reached for a day; ask for a new draft"
_GIVEN_UP = "This draft could not be written, because something went wrong again and again; ask for a new one"

_logger = structlog.get_logger(__name__)


class DraftResults:
    """Takes in what became of jobs. Each result is stored once and told once, however often and by whichever gateways it is taken in."""

    def __init__(self, database: Database, ml: MlClient, events: EventPublisher) -> None:
        self._database = database
        self._ml = ml
        self._events = events

    def may_be_lost(self, event: JobEvent) -> bool:
        """A piece of text is for those who look on now."""
        return event.type == "token"

    async def take(self, told: Sequence[JobEvent]) -> None:
        """Store what jobs brought; then tell the accounts' readers, in the order in which it came.

        Events of jobs that are no draft's are left alone.

        Raises:
            Unavailable: PostgreSQL or Redis is away. Call it again with all but the tokens: nothing is stored or told twice.
        """
        events = [(*ids, event) for event in told if (ids := _ids(event))]
        drafts: list[StoredDraft | None] = [None] * len(events)
        if any(event.type != "token" for _, _, event in events):
            async with self._database.transaction() as db:
                drafts = [await _store(db, *each) for each in events]
        for (account_id, draft_id, event), stored in zip(events, drafts, strict=True):
            if event.type == "token":
                self._publish_token(account_id, draft_id, event)
            elif event.type == "generating" and (stored is None or stored.details.status in ("failed", "cancelled")):
                await self._end_job(draft_id)
            elif stored is not None:
                await self._publish(stored)

    async def publish(self, account_id: UUID, draft_id: UUID) -> None:
        """Publish how far a draft is, if nobody did yet.

        Raises:
            Unavailable: as `take`.
        """
        async with self._database.connection() as db:
            stored = await queries.find(db, account_id, draft_id)
        if stored is not None:
            await self._publish(stored)

    async def _publish(self, stored: StoredDraft) -> None:
        for event in events_of(stored):
            await self._events.deliver(stored.account_id, event)

    def _publish_token(self, account_id: UUID, draft_id: UUID, event: JobEvent) -> None:
        if self._events.tokens_wanted(account_id):
            token = DraftToken(response_id=draft_id, index=event.index, sequence=event.sequence, text=event.text or "")
            self._events.publish_token(account_id, token)

    async def _end_job(self, draft_id: UUID) -> None:
        """End a job that began although its draft was cancelled, or deleted. At worst it runs, and nobody takes what it brings."""
        try:
            await self._ml.cancel_job(draft_id)
        except AppError:
            _logger.warning("job not cancelled", draft_id=str(draft_id))


class DraftReconciliation:
    """Looks after queued drafts of which nothing was heard for a while, and ends the jobs of those that nobody wants any more."""

    def __init__(self, database: Database, ml: MlClient, results: DraftResults) -> None:
        self._database = database
        self._ml = ml
        self._results = results

    async def reconcile(self, row: Record) -> None:
        """Do what there is to do about a row of `queries.DUE`.

        Raises:
            Unavailable: the ML service, the database or Redis is away; the row comes again.
        """
        account_id, draft_id = row["account_id"], row["id"]
        if not row["open"]:
            await self._end_job(account_id, draft_id)
        elif utc_now() - row["created_at"] > _LONGEST:
            await self._fail(account_id, draft_id, _TOO_LATE)
        else:
            await self._catch_up(account_id, draft_id, row)

    async def give_up(self, row: Record) -> None:
        """An open draft fails, and is looked at as often again to end its job. If that cannot be done either, it is left as it is: the job
        ends by itself, and nobody takes what it brings.
        """
        if row["open"]:
            await self._fail(row["account_id"], row["id"], _GIVEN_UP)
            return
        async with self._database.connection() as db:
            await queries.settle(db, row["account_id"], row["id"])

    async def _end_job(self, account_id: UUID, draft_id: UUID) -> None:
        """The draft was cancelled, or never accepted: see that there is no job, and that the readers know."""
        await self._results.publish(account_id, draft_id)
        await self._ml.cancel_job(draft_id)
        async with self._database.connection() as db:
            await queries.settle(db, account_id, draft_id)

    async def _catch_up(self, account_id: UUID, draft_id: UUID, row: Record) -> None:
        job = await self._ml.job_state(draft_id)
        if job is None:
            _logger.warning("job is asked for anew", draft_id=str(draft_id))
            request = msgspec.convert(row["request"], QueuedRequest).job
            try:
                await self._ml.enqueue(replace(request, messages=msgspec.convert(row["messages"], list[Turn])))
            except BadRequest as error:  # a model with a smaller window has been loaded since
                await self._fail(account_id, draft_id, error.message)
        elif job.status != "queued":
            event = JobEvent(type=job.status, job_id=job.job_id, scope=str(account_id), result=job.result, error=job.error)
            await self._results.take([event])

    async def _fail(self, account_id: UUID, draft_id: UUID, error: str) -> None:
        """Its job is ended the next time."""
        async with self._database.connection() as db:
            await queries.close(db, account_id, draft_id, "failed", error)


async def fail_abandoned(database: Database, events: EventPublisher, longest_draft: timedelta) -> None:
    """Close every account's drafts that somebody waited for and whose gateway was killed, and tell their readers. One that has been in
    work for longer than `longest_draft` has lost the gateway that wrote it.
    """
    async with database.transaction() as db:
        drafts = await queries.fail_abandoned(db, longest_draft)
    for draft in drafts:
        events.publish(draft.account_id, *events_of(draft))


async def _store(db: Db, account_id: UUID, draft_id: UUID, event: JobEvent) -> StoredDraft | None:
    """Change the row, if the draft is still wanted: who comes second changes nothing.

    Returns:
        The draft as it is then, if there is one.
    """
    match event.type:
        case "token":
            return None
        case "generating":
            changed = await queries.start(db, account_id, draft_id)
        case "completed":
            assert event.result is not None
            changed = await complete(db, account_id, draft_id, event.result, await _read(db, account_id, draft_id, event.result))
        case "failed":
            changed = await queries.close(db, account_id, draft_id, "failed", storable(event.error or _NO_REASON))
        case "cancelled":
            changed = await queries.close(db, account_id, draft_id, "cancelled")
    if event.type != "generating":
        await queries.settle(db, account_id, draft_id)
    return changed or await queries.find(db, account_id, draft_id)


async def _read(db: Db, account_id: UUID, draft_id: UUID, answer: GenerateResponse) -> Prompt | None:
    """What the model read of the prompt, if that was not all: samples are made of that."""
    if not answer.dropped_messages:
        return None
    prompt = await queries.queued_prompt(db, account_id, draft_id)
    return without_oldest(prompt, answer.dropped_messages) if prompt is not None else None


def _ids(event: JobEvent) -> tuple[UUID, UUID] | None:
    """The account and the draft that an event is about; None if its job is no draft's: others may use the queue, too."""
    if event.type == "completed" and event.result is None:
        _logger.error("job event has no result", job_id=event.job_id)
        return None
    try:
        return UUID(event.scope), UUID(event.job_id)
    except ValueError:
        return None
