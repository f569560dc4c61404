from dataclasses import fields, replace
from uuid import UUID

import structlog

from gateway.auth.principal import Principal
from gateway.database import Database
from gateway.events.publisher import EventPublisher
from gateway.limits.allowances import Allowances
from gateway.ml_client import MlClient
from gateway.responses import queries
from gateway.responses.queries import QueuedRequest
from gateway.responses.schemas import GenerateBody, QueuedDraft
from gateway.responses.service import begin
from shared.contracts.generation import GenerateRequest
from shared.contracts.jobs import AsyncGenerateRequest
from shared.errors import BadRequest, Unavailable
from shared.ids import new_id

_NO_ROOM = "Too many drafts are waiting, or the queue is away; try again in a moment"

_logger = structlog.get_logger(__name__)


class DraftQueue:
    """Accepts drafts that are written when their turn comes.

    The row comes first, with all that it takes to ask for the job, which has the draft's id: from its commit on the draft is finished one
    day, whatever dies. What became of the job comes as an event, or is found by the reconciler: see `results`.
    """

    def __init__(self, database: Database, ml: MlClient, events: EventPublisher, allowances: Allowances) -> None:
        self._database = database
        self._ml = ml
        self._events = events
        self._allowances = allowances

    async def accept(self, caller: Principal, body: GenerateBody, *, fresh: bool, draft_id: UUID | None = None) -> QueuedDraft:
        """Accept a draft.

        Args:
            fresh: generate anew even if the very same prompt was answered before.
            draft_id: the draft's id, if it comes with an Idempotency-Key: the draft may have been accepted, and its answer lost with the
                gateway.

        Raises:
            NotFound, BadRequest: as `ResponseService.stream`.
            TooManyRequests: as many of the account's drafts wait as may; there is no row.
            Unavailable: the queue is full or away; the row says `failed`.
        """
        account_id = caller.account_id
        async with self._database.transaction() as db:
            known = await queries.find(db, account_id, draft_id) if draft_id is not None else None
            if known is not None and known.details.status != "failed":
                return QueuedDraft(response_id=known.details.response_id)
            if known is not None or draft_id is None:
                draft_id = new_id()
            if await queries.waiting(db, account_id, self._allowances["queued_drafts"]) >= self._allowances["queued_drafts"]:
                raise self._allowances.refusal("queued_drafts")
            begun = await begin(db, caller, body, draft_id, fresh=fresh, status="queued")
            job = self._job(account_id, draft_id, begun.request)
            request = QueuedRequest(job=replace(job, messages=None), turn_sizes=[len(ids) for ids in begun.prompt.turn_message_ids])
            await queries.queue(db, account_id, draft_id, begun.prompt, request)
        try:
            await self._ml.enqueue(job)
        except BadRequest as error:
            await self._refuse(account_id, draft_id, error.message)
            raise
        except Unavailable as error:
            await self._refuse(account_id, draft_id, _NO_ROOM)
            raise Unavailable(_NO_ROOM, retry_after=error.retry_after or 1) from error
        _logger.info("draft queued", draft_id=str(draft_id))
        return QueuedDraft(response_id=draft_id)

    def _job(self, account_id: UUID, draft_id: UUID, request: GenerateRequest) -> AsyncGenerateRequest:
        asked = {field.name: getattr(request, field.name) for field in fields(request)}
        return AsyncGenerateRequest(**asked, job_id=str(draft_id), publish_tokens=self._events.tokens_wanted(account_id))

    async def _refuse(self, account_id: UUID, draft_id: UUID, error: str) -> None:
        """The reconciler sees to it that there is no job, in case only its answer got lost, and tells the readers."""
        async with self._database.connection() as db:
            await queries.close(db, account_id, draft_id, "failed", error)
