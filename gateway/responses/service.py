import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias
from uuid import UUID

import msgspec
import structlog
from msgspec import structs

from gateway.adapters.service import active_adapter
from gateway.auth.principal import Principal
from gateway.background.reconciler import Reconciler
from gateway.conversations.prompt import Prompt
from gateway.conversations.service import DraftContext, current_conversation, draft_context
from gateway.database import Database, Db
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.schemas import DraftToken, EventType
from gateway.limits.places import Places
from gateway.ml_client import MlClient
from gateway.responses import queries
from gateway.responses.queries import StoredDraft
from gateway.responses.schemas import Candidate, Draft, DraftDetails, DraftPage, GenerateBody, GenerateContext, ResponseStatus
from gateway.wire import storable
from shared.background import end
from shared.contracts.generation import Candidate as GeneratedCandidate
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.errors import BadRequest, Conflict, NotFound, Unavailable
from shared.ids import new_id

_UNEXPECTED = "Something went wrong while this draft was written; ask for a new one"
_LONGEST_MODEL_NAME = 300  # characters, with its adapter
_CHECK_SECONDS = 0.5  # half of the second that is promised: the query and the stopping take their time, too
_NOT_BEGUN = (
    "response", "confidence", "model_version", "tokens_used", "candidates", "completed_at", "error",
    "action", "edited_response", "rejection_reason", "sample_id",
)  # fmt: skip
_EVENTS: dict[ResponseStatus, EventType] = {
    "generating": "response:generating",
    "completed": "response:completed",
    "failed": "response:failed",
    "cancelled": "response:cancelled",
}

Generated: TypeAlias = AsyncGenerator[TokenEvent | GenerateResponse, None]
"""What the model writes: pieces of text, then the whole answer, which is always the last."""

_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunDraft:
    """A draft that was just stored, the prompt that it is made from, and what the model is asked for."""

    stored: StoredDraft
    prompt: Prompt
    request: GenerateRequest


class _Unwanted(Exception):
    """The draft that was being written is not wanted any more."""


class ResponseService:
    """Writes drafts that somebody waits for, and knows what became of all drafts.

    A draft's row is there before the model is asked and says how it ended: `generating` is followed by exactly one of `completed`,
    `failed` and `cancelled`, whoever dies meanwhile.
    """

    def __init__(self, database: Database, ml: MlClient, events: EventPublisher, reconciler: Reconciler, places: Places) -> None:
        """
        Args:
            reconciler: ends the jobs of queued drafts that were cancelled.
            places: those of drafts that somebody waits for.
        """
        self._database = database
        self._ml = ml
        self._events = events
        self._reconciler = reconciler
        self._places = places

    async def generate(self, caller: Principal, body: GenerateBody, *, fresh: bool) -> Draft:
        """Write a draft and wait for the whole of it; see `stream`."""
        async with aclosing(self.stream(caller, body, fresh=fresh, in_pieces=False)) as events:
            (draft,) = [event async for event in events if isinstance(event, Draft)]
        return draft

    async def stream(
        self, caller: Principal, body: GenerateBody, *, fresh: bool, in_pieces: bool = True
    ) -> AsyncGenerator[TokenEvent | Draft, None]:
        """Write a draft of an answer to an incoming message.

        Closing the generator, or cancelling who waits for it, aborts the generation and leaves the row `cancelled`.

        Args:
            fresh: generate anew even if the very same prompt was answered before.
            in_pieces: whether the pieces of text are wanted.

        Yields:
            Pieces of text; and last the completed draft, or the cancelled one, if it was cancelled meanwhile, its message retracted or its
            device deactivated.

        Raises:
            NotFound: no such message.
            BadRequest: it is not a message that can be answered, or too long.
            TooManyRequests: the account has as many drafts in work as it may; there is no row.
            Unavailable: the model cannot draft now; the row says `failed`.
        """
        with self._places.taken(caller.account_id):
            async with self._database.transaction() as db:
                begun = await begin(db, caller, body, new_id(), fresh=fresh, status="generating")
            draft = begun.stored.details
            self._publish(begun.stored)
            live = _LiveTokens(self._events, caller.account_id, draft.response_id)
            try:
                generated = self._generated(caller.account_id, draft.response_id, begun.request, in_pieces=in_pieces)
                async with aclosing(generated):
                    async for piece in generated:
                        if isinstance(piece, TokenEvent):
                            live.add(piece)
                            yield piece
                        else:
                            draft = await self._complete(caller.account_id, draft, piece, begun.prompt)
            except _Unwanted:
                draft = await self._close(caller.account_id, draft, "cancelled")
            except (Unavailable, BadRequest) as error:
                await self._close(caller.account_id, draft, "failed", error.message)
                raise
            except (asyncio.CancelledError, GeneratorExit):  # whoever asked has gone
                await self._close(caller.account_id, draft, "cancelled")
                raise
            except Exception:
                await self._close(caller.account_id, draft, "failed", _UNEXPECTED)
                raise
            yield msgspec.convert(draft, Draft, from_attributes=True)

    async def cancel(self, account_id: UUID, draft_id: UUID) -> DraftDetails:
        """Stop a draft that waits or is being written, wherever that is; cancelling twice is fine.

        Raises:
            NotFound: no such draft, or another account's.
            Conflict: it has ended already.
        """
        async with self._database.connection() as db:
            closed = await queries.close(db, account_id, draft_id, "cancelled")
            stored = closed or await queries.find(db, account_id, draft_id)
        if stored is None:
            raise NotFound("There is no response with this id")
        if closed:
            self._publish(closed)
            self._reconciler.wake()
        if stored.details.status != "cancelled":
            raise Conflict(f"This response has already {stored.details.status}; there is nothing to cancel")
        return stored.details

    async def get(self, account_id: UUID, draft_id: UUID) -> DraftDetails:
        """A draft and what became of it.

        Raises:
            NotFound: no such draft, or another account's.
        """
        async with self._database.connection() as db:
            stored = await queries.find(db, account_id, draft_id)
        if stored is None:
            raise NotFound("There is no response with this id")
        return stored.details

    async def list(
        self, account_id: UUID, conversation_id: UUID | None, status: ResponseStatus | None, page: int, page_size: int
    ) -> DraftPage:
        async with self._database.connection() as db:
            conversation_id = await current_conversation(db, account_id, conversation_id)
            total = await queries.count(db, account_id, conversation_id, status)
            drafts = await queries.page(db, account_id, conversation_id, status, page_size, (page - 1) * page_size)
        return DraftPage(responses=drafts, total=total, page=page, page_size=page_size)

    async def _generated(self, account_id: UUID, draft_id: UUID, request: GenerateRequest, *, in_pieces: bool) -> Generated:
        """What the model writes, for as long as the draft's row says that it is wanted: it may be cancelled through any gateway.

        Raises:
            _Unwanted: it was.
        """
        in_pieces = in_pieces or self._events.tokens_wanted(account_id)
        clock = asyncio.get_running_loop().time
        check_at = clock() + _CHECK_SECONDS
        async with aclosing(self._ml.stream(request) if in_pieces else self._whole(request)) as generation:
            while True:
                piece = asyncio.create_task(anext(generation, None))
                try:
                    while not (await asyncio.wait([piece], timeout=max(check_at - clock(), 0)))[0]:
                        if not await self._is_wanted(account_id, draft_id):
                            raise _Unwanted
                        check_at = clock() + _CHECK_SECONDS
                finally:
                    await end(piece)
                if (came := piece.result()) is None:
                    return
                yield came

    async def _whole(self, request: GenerateRequest) -> Generated:
        yield await self._ml.generate(request)

    async def _is_wanted(self, account_id: UUID, draft_id: UUID) -> bool:
        try:
            async with self._database.connection() as db:
                return await queries.is_wanted(db, account_id, draft_id)
        except Unavailable:  # then nothing can be cancelled either
            return True

    async def _complete(self, account_id: UUID, draft: DraftDetails, answer: GenerateResponse, prompt: Prompt) -> DraftDetails:
        """The completed draft; or the cancelled one, if that happened at the last moment."""
        async with self._database.connection() as db:
            completed = await complete(db, account_id, draft.response_id, answer, without_oldest(prompt, answer.dropped_messages))
        if completed is None:
            return structs.replace(draft, status="cancelled")
        self._publish(completed)
        return completed.details

    async def _close(self, account_id: UUID, draft: DraftDetails, status: ResponseStatus, error: str | None = None) -> DraftDetails:
        """The draft as it ended without a text, unless somebody else ended it before, who told of it, too."""
        _logger.info("draft ended", draft_id=str(draft.response_id), status=status)
        async with self._database.connection() as db:
            closed = await queries.close(db, account_id, draft.response_id, status, error)
        if closed is not None:
            self._publish(closed)
        return structs.replace(draft, status=status)

    def _publish(self, stored: StoredDraft) -> None:
        self._events.publish(stored.account_id, *events_of(stored))


async def begin(
    db: Db, caller: Principal, body: GenerateBody, draft_id: UUID, *, fresh: bool, status: Literal["queued", "generating"]
) -> BegunDraft:
    """Store a draft, and read what it is made from.

    Raises:
        NotFound: no such message.
        BadRequest: it is not one that can be answered.
        Unavailable: the message came, or moved to another thread, between the two; or the draft is just being accepted.
    """
    context = body.context or GenerateContext()
    account_id = caller.account_id
    stored = await queries.begin(db, account_id, draft_id, message_id=body.message_id, device_id=caller.device_id, status=status)
    start = await draft_context(
        db, account_id, body.message_id, max_history=context.max_history, include_contact_info=context.include_contact_info
    )
    _check_answerable(start)
    if stored is None:
        raise Unavailable("This conversation is just being changed; try again in a moment", retry_after=1)
    adapter = await active_adapter(db, account_id)
    request = GenerateRequest(
        messages=start.prompt.turns,
        max_tokens=context.max_tokens,
        temperature=context.temperature,
        n=body.n,
        adapter_id=str(adapter.id) if adapter is not None else None,
        adapter_fallback="base",
        scope=str(account_id),
        use_cache=not fresh,
        overflow="drop_oldest",
    )
    return BegunDraft(stored=stored, prompt=start.prompt, request=request)


async def complete(db: Db, account_id: UUID, draft_id: UUID, answer: GenerateResponse, read: Prompt | None) -> StoredDraft | None:
    """Store what the model wrote; None if the draft is not open any more.

    Args:
        read: what the model read of the prompt, if that is not what the row has.
    """
    candidates = [_candidate(each) for each in answer.candidates] if len(answer.candidates) > 1 else None
    model_version = storable(answer.model_version)[:_LONGEST_MODEL_NAME]
    answer = replace(answer, response=storable(answer.response), model_version=model_version)
    return await queries.complete(db, account_id, draft_id, answer, candidates, read)


def events_of(stored: StoredDraft) -> list[PendingEvent]:
    """What the account's readers are told of a draft: each status once, whoever gets to know of it and however often.

    That it began goes out once more before its end, in case this got lost or is still on its way through another gateway: readers would
    take a draft for one that is being written if they heard of its beginning last.
    """
    draft = stored.details
    states: list[DraftDetails] = []
    if stored.began:
        states.append(structs.replace(draft, status="generating", cached=False, **dict.fromkeys(_NOT_BEGUN)))
    if draft.status in ("completed", "failed", "cancelled"):
        states.append(draft)
    return [PendingEvent(_EVENTS[each.status], each, each.conversation_id, f"{each.response_id}:{each.status}") for each in states]


class _LiveTokens:
    """A draft's pieces on their way to those who watch it grow. Who begins to watch in the middle gets what there is as one piece."""

    def __init__(self, events: EventPublisher, account_id: UUID, draft_id: UUID) -> None:
        self._events = events
        self._account_id = account_id
        self._draft_id = draft_id
        self._held: dict[int, str] = {}
        self._sequence = 0

    def add(self, token: TokenEvent) -> None:
        self._held[token.index] = self._held.get(token.index, "") + token.text
        if not self._events.tokens_wanted(self._account_id):
            return
        for index, text in self._held.items():
            piece = DraftToken(response_id=self._draft_id, index=index, sequence=self._sequence, text=text)
            self._events.publish_token(self._account_id, piece)
            self._sequence += 1
        self._held.clear()


def _check_answerable(start: DraftContext) -> None:
    message = start.message
    if message.direction != "incoming":
        raise BadRequest.field("messageId", "this is a message of your own; choose one that you received")
    if message.retracted:
        raise BadRequest.field("messageId", "this message was retracted; choose another one")
    if message.message_type not in ("text", "attachment") or not message.has_text:
        raise BadRequest.field("messageId", "this message has no text to answer, or one that a phone wrote by itself; choose another one")


def without_oldest(prompt: Prompt, count: int) -> Prompt:
    """What the model read of a prompt of which so many of the oldest turns did not fit: system turns always stay."""
    read = Prompt()
    for turn, message_ids in zip(prompt.turns, prompt.turn_message_ids, strict=True):
        if turn.role != "system" and count > 0:
            count -= 1
        else:
            read.turns.append(turn)
            read.turn_message_ids.append(message_ids)
    return read


def _candidate(candidate: GeneratedCandidate) -> Candidate:
    return Candidate(
        text=storable(candidate.text),
        confidence=round(candidate.confidence, 4),
        tokens_used=candidate.tokens_used,
        finish_reason=candidate.finish_reason,
    )
