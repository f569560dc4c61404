from uuid import UUID

import structlog

from gateway.auth.principal import Principal
from gateway.conversations.service import draft_context
from gateway.database import Database
from gateway.errors import BadRequest, Unavailable
from gateway.events.publisher import EventPublisher
from gateway.idempotency import sealing
from gateway.limits.allowances import Allowances
from gateway.ml_client import MlClient
from gateway.responses import job_queries, queries
from gateway.responses.drafting import check_answerable
from gateway.responses.jobs import JobKey, JobRequest
from gateway.responses.schemas import GenerateBody, GenerateContext, QueuedDraft
from gateway.wire import utc_now
from shared.contracts.jobs import AsyncGenerateRequest
from shared.ids import new_id

_DEFAULT_CONTEXT = GenerateContext()
_NO_ROOM = "Too many drafts are waiting, or the queue is away; try again in a moment"

_logger = structlog.get_logger(__name__)


class DraftQueue:
    """Accepts drafts that are written when their turn comes.

    The row comes first, with all that it takes to ask for the job: from its commit on the draft is finished one day, whatever dies. The
    result comes as an event (`consumer`); what gets lost on the way is found by the `reconciler`.
    """

    def __init__(self, database: Database, ml: MlClient, events: EventPublisher, allowances: Allowances) -> None:
        self._database = database
        self._ml = ml
        self._events = events
        self._allowances = allowances

    async def accept(self, caller: Principal, body: GenerateBody, *, fresh: bool, key: str | None) -> QueuedDraft:
        """Accept a draft.

        Args:
            fresh: generate anew even if the very same prompt was answered before.
            key: the request's Idempotency-Key. If a draft was accepted under it, but the answer got lost with its gateway, it is that one.

        Raises:
            NotFound, BadRequest: as `ResponseService.write`.
            TooManyRequests: as many of the account's drafts wait as may; there is no row.
            Unavailable: the queue is full or away; the row says `failed`.
        """
        key_hash = sealing.key_hash(str(caller.account_id), key) if key else None
        job = await self._store(caller, body, fresh=fresh, key_hash=key_hash)
        if isinstance(job, UUID):
            return QueuedDraft(response_id=job)
        try:
            await self._ml.enqueue(job)
        except BadRequest as error:
            await self._refuse(caller.account_id, job, error.message)
            raise
        except Unavailable as error:
            await self._refuse(caller.account_id, job, _NO_ROOM)
            raise Unavailable(_NO_ROOM, retry_after=error.retry_after or 1) from error
        _logger.info("draft queued", response_id=job.job_id)
        return QueuedDraft(response_id=UUID(job.job_id))

    async def _store(self, caller: Principal, body: GenerateBody, *, fresh: bool, key_hash: bytes | None) -> AsyncGenerateRequest | UUID:
        """Commit the row and give the job to ask for; or the id of the draft that was accepted before."""
        context = body.context or _DEFAULT_CONTEXT
        key = JobKey(caller.account_id, new_id())
        async with self._database.transaction() as db:
            if key_hash is not None and (known := await job_queries.accepted_before(db, caller.account_id, key_hash)):
                return known
            if await job_queries.waiting(db, caller.account_id, self._allowances.queued_drafts) >= self._allowances.queued_drafts:
                raise self._allowances.too_many_queued()
            held = await job_queries.hold_thread(db, caller.account_id, body.message_id)
            start = await draft_context(
                db,
                caller.account_id,
                body.message_id,
                max_history=context.max_history,
                include_contact_info=context.include_contact_info,
            )
            check_answerable(start, begun=held is not None)
            request = JobRequest(
                max_tokens=context.max_tokens,
                temperature=context.temperature,
                n=body.n,
                use_cache=not fresh,
                publish_tokens=self._events.tokens_wanted(caller.account_id),
                turn_sizes=[len(ids) for ids in start.prompt.turn_message_ids],
                adapter_id=held["adapter_id"] if held is not None else None,
            )
            await job_queries.accept(
                db,
                caller.account_id,
                key.response_id,
                conversation_id=start.conversation_id,
                message_id=body.message_id,
                device_id=caller.device_id,
                prompt=start.prompt,
                request=request,
                key_hash=key_hash,
                created_at=utc_now(),
            )
        return request.for_service(key, start.prompt.turns)

    async def _refuse(self, account_id: UUID, job: AsyncGenerateRequest, error: str) -> None:
        """The reconciler sees to it that there is no job, in case only its answer got lost, and tells the readers."""
        async with self._database.connection() as db:
            await queries.close(db, account_id, UUID(job.job_id), "failed", error, utc_now())
