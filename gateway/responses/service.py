import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog

from gateway.auth.principal import Principal
from gateway.conversations.prompt import Prompt
from gateway.conversations.service import current_conversation, draft_context
from gateway.database import Database
from gateway.errors import AppError, BadRequest, Conflict, NotFound, Unavailable
from gateway.events.publisher import EventPublisher
from gateway.limits.places import Places
from gateway.ml_client import MlClient
from gateway.responses import queries
from gateway.responses.announcing import LiveTokens, details_of, details_of_row, ending_of, event_of, once_key
from gateway.responses.drafting import check_answerable, public_candidate, public_confidence, without_oldest
from gateway.responses.queueing import DraftQueue
from gateway.responses.running import RunningDrafts, Stopped
from gateway.responses.schemas import Draft, DraftDetails, DraftPage, GenerateBody, GenerateContext, ResponseStatus
from gateway.responses.unwanted import UnwantedJobs
from gateway.wire import storable, utc_now
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.ids import new_id

_UNEXPECTED = "Something went wrong while this draft was written; ask for a new one"
_DEFAULT_CONTEXT = GenerateContext()

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Begun:
    """A draft whose row says `generating`."""

    id: UUID
    account_id: UUID
    conversation_id: UUID
    message_id: UUID
    prompt: Prompt
    adapter_id: UUID | None
    created_at: datetime


class ResponseService:
    """Writes drafts, and knows what became of them.

    A draft's row is there before the model is asked and says how it ended: `generating` is followed by exactly one of `completed`,
    `failed` and `cancelled`, whoever dies meanwhile.
    """

    def __init__(
        self,
        database: Database,
        ml: MlClient,
        events: EventPublisher,
        running: RunningDrafts,
        queue: DraftQueue,
        unwanted: UnwantedJobs,
        places: Places,
    ) -> None:
        """`places` are those of drafts that somebody waits for."""
        self._places = places
        self._database = database
        self._ml = ml
        self._events = events
        self._running = running
        self._unwanted = unwanted
        self.queue = queue
        """For drafts that nobody waits for."""

    async def write(
        self, caller: Principal, body: GenerateBody, *, fresh: bool, on_token: Callable[[TokenEvent], Awaitable[None]] | None = None
    ) -> Draft:
        """Write a draft of an answer to an incoming message.

        Cancelling the call aborts the generation and leaves the row `cancelled`.

        Args:
            fresh: generate anew even if the very same prompt was answered before.
            on_token: is awaited for each piece of text; raising from it ends the draft like a cancellation.

        Returns:
            The completed draft; or the cancelled one, if it was cancelled meanwhile through `cancel` or by a retraction.

        Raises:
            NotFound: no such message.
            BadRequest: it is not a message that can be answered, or too long.
            TooManyRequests: the account has as many drafts in work as it may; there is no row.
            Unavailable: the model cannot draft now; the row says `failed`.
        """
        with self._places.taken(caller.account_id):
            return await self._write(caller, body, fresh=fresh, on_token=on_token)

    async def _write(
        self, caller: Principal, body: GenerateBody, *, fresh: bool, on_token: Callable[[TokenEvent], Awaitable[None]] | None
    ) -> Draft:
        draft = await self._begin(caller, body)
        self._tell(draft.account_id, details_of(_unwritten(draft, "generating")))
        request = _request(draft, body, fresh=fresh)
        try:
            async with self._running.writing(draft.id):
                answer = await self._generate(draft, request, on_token)
            return await self._complete(draft, answer, several=body.n > 1)
        except Stopped:
            await self._close(draft, "cancelled", None)  # unless somebody else did, who told of it too
            return _unwritten(draft, "cancelled")
        except (Unavailable, BadRequest) as error:
            await self._close(draft, "failed", error.message)
            raise
        except (asyncio.CancelledError, AppError):  # whoever asked has gone
            await self._close(draft, "cancelled", None)
            raise
        except Exception:
            await self._close(draft, "failed", _UNEXPECTED)
            raise

    async def _begin(self, caller: Principal, body: GenerateBody) -> _Begun:
        """Store the row and read the prompt, in this order and as two transactions: see `queries.BEGIN`."""
        context = body.context or _DEFAULT_CONTEXT
        response_id, created_at = new_id(), utc_now()
        try:
            async with self._database.connection() as db:
                begun = await queries.begin(
                    db, caller.account_id, response_id, message_id=body.message_id, device_id=caller.device_id, created_at=created_at
                )
                start = await draft_context(
                    db,
                    caller.account_id,
                    body.message_id,
                    max_history=context.max_history,
                    include_contact_info=context.include_contact_info,
                )
            check_answerable(start, begun=begun is not None)
        except BaseException:
            await self._discard(caller.account_id, response_id)
            raise
        return _Begun(
            id=response_id,
            account_id=caller.account_id,
            conversation_id=start.conversation_id,
            message_id=body.message_id,
            prompt=start.prompt,
            adapter_id=begun["adapter_id"] if begun is not None else None,
            created_at=created_at,
        )

    async def _generate(
        self, begun: _Begun, request: GenerateRequest, on_token: Callable[[TokenEvent], Awaitable[None]] | None
    ) -> GenerateResponse:
        """The model's answer; piece by piece only where somebody looks on."""
        if on_token is None and not self._events.tokens_wanted(begun.account_id):
            return await self._ml.generate(request)
        live = LiveTokens(self._events, begun.account_id, begun.id)
        async with aclosing(self._ml.stream(request)) as events:
            async for event in events:
                if isinstance(event, GenerateResponse):
                    return event
                live.add(event)
                if on_token is not None:
                    await on_token(event)
        raise Unavailable("The model stopped in the middle of the draft; try again")

    async def _complete(self, begun: _Begun, answer: GenerateResponse, *, several: bool) -> Draft:
        """Store the answer, unless the draft was cancelled at the last moment. One statement, which is a transaction of its own."""
        text, confidence = storable(answer.response), public_confidence(answer.confidence)
        candidates = [public_candidate(candidate) for candidate in answer.candidates] if several else None
        read = without_oldest(begun.prompt, answer.dropped_messages) if answer.dropped_messages else begun.prompt
        completed_at = utc_now()
        async with self._database.connection() as db:
            conversation_id = await queries.complete(
                db,
                begun.account_id,
                begun.id,
                completed_at=completed_at,
                text=text,
                candidates=candidates,
                confidence=confidence,
                model_version=answer.model_version,
                tokens_used=answer.tokens_used,
                cached=answer.cached,
                turns=read.turns,
                message_ids=read.message_ids,
            )
        if conversation_id is None:
            return _unwritten(begun, "cancelled")
        draft = Draft(
            response_id=begun.id,
            status="completed",
            response=text,
            confidence=confidence,
            model_version=answer.model_version,
            tokens_used=answer.tokens_used,
            conversation_id=conversation_id,
            message_id=begun.message_id,
            candidates=candidates,
            cached=answer.cached,
            created_at=begun.created_at,
        )
        self._tell(begun.account_id, details_of(draft, completed_at=completed_at))
        return draft

    async def _close(self, begun: _Begun, status: ResponseStatus, error: str | None) -> None:
        _logger.info("draft ended", response_id=str(begun.id), status=status)
        ended_at = utc_now()
        async with self._database.connection() as db:
            closed = await queries.close(db, begun.account_id, begun.id, status, error, ended_at)
        if closed:
            self._tell(begun.account_id, details_of(_unwritten(begun, status), completed_at=ended_at, error=error))

    def _tell(self, account_id: UUID, draft: DraftDetails) -> None:
        self._events.publish_all(account_id, [event_of(draft)])

    async def _discard(self, account_id: UUID, response_id: UUID) -> None:
        async with self._database.connection() as db:
            await queries.discard(db, account_id, response_id)

    async def cancel(self, account_id: UUID, response_id: UUID) -> DraftDetails:
        """Stop a draft that is being written, wherever that is; cancelling twice is fine.

        Raises:
            NotFound: no such draft, or another account's.
            Conflict: it has ended already.
        """
        async with self._database.transaction() as db:
            closed = await queries.close(db, account_id, response_id, "cancelled", None, utc_now())
            row = await queries.find(db, account_id, response_id)
        if row is None:
            raise NotFound("There is no response with this id")
        draft = details_of_row(row)
        self._running.stop(response_id)
        if row["has_job"]:
            self._unwanted.cancel(response_id)
        if closed:
            for told in ending_of(row):
                event = event_of(told)
                self._events.publish(account_id, event.type, told, once=once_key(told), about=event.about)
        if draft.status != "cancelled":
            raise Conflict(f"This response has already {draft.status}; there is nothing to cancel")
        return draft

    async def get(self, account_id: UUID, response_id: UUID) -> DraftDetails:
        """A draft and what became of it.

        Raises:
            NotFound: no such draft, or another account's.
        """
        async with self._database.connection() as db:
            row = await queries.find(db, account_id, response_id)
        if row is None:
            raise NotFound("There is no response with this id")
        return details_of_row(row)

    async def list(
        self, account_id: UUID, conversation_id: UUID | None, status: ResponseStatus | None, page: int, page_size: int
    ) -> DraftPage:
        async with self._database.connection() as db:
            conversation_id = await current_conversation(db, account_id, conversation_id)
            total = await queries.count(db, account_id, conversation_id, status)
            rows = await queries.page(db, account_id, conversation_id, status, page_size, (page - 1) * page_size)
        return DraftPage(responses=[details_of_row(row) for row in rows], total=total, page=page, page_size=page_size)


def _request(begun: _Begun, body: GenerateBody, *, fresh: bool) -> GenerateRequest:
    context = body.context or _DEFAULT_CONTEXT
    return GenerateRequest(
        messages=begun.prompt.turns,
        max_tokens=context.max_tokens,
        temperature=context.temperature,
        n=body.n,
        adapter_id=str(begun.adapter_id) if begun.adapter_id is not None else None,
        adapter_fallback="base",
        scope=str(begun.account_id),
        use_cache=not fresh,
        overflow="drop_oldest",
    )


def _unwritten(begun: _Begun, status: ResponseStatus) -> Draft:
    return Draft(
        response_id=begun.id,
        status=status,
        response=None,
        confidence=None,
        model_version=None,
        tokens_used=None,
        conversation_id=begun.conversation_id,
        message_id=begun.message_id,
        candidates=None,
        cached=False,
        created_at=begun.created_at,
    )
