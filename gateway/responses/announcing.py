"""What the account's readers are told of drafts: `response:*` with the draft as `GET /api/responses/:id` has it."""

from collections import defaultdict
from datetime import datetime
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import structs

from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.schemas import DraftToken
from gateway.responses.schemas import Candidate, Draft, DraftDetails
from shared.contracts.generation import TokenEvent

_NOT_OURS = frozenset({"account_id", "began", "has_job", "withdrawn"})
_COMMON = tuple(field.name for field in msgspec.structs.fields(Draft))


def details_of(draft: Draft, *, completed_at: datetime | None = None, error: str | None = None) -> DraftDetails:
    """A draft with which nothing was done yet."""
    return DraftDetails(
        **{name: getattr(draft, name) for name in _COMMON},
        completed_at=completed_at,
        error=error,
        action=None,
        edited_response=None,
        rejection_reason=None,
        sample_id=None,
    )


def details_of_row(row: Record) -> DraftDetails:
    """A draft as the database has it (`queries.DETAILS`)."""
    fields = {name: value for name, value in row.items() if name not in _NOT_OURS}
    confidence = fields["confidence"]
    return DraftDetails(
        response_id=fields.pop("id"),
        response=fields.pop("text"),
        **{
            **fields,
            # A `real` comes back with the noise of its 24 bits.
            "confidence": None if confidence is None else round(confidence, 4),
            "candidates": msgspec.convert(fields["candidates"], list[Candidate] | None),
        },
    )


def event_of(draft: DraftDetails) -> PendingEvent:
    """That the draft is now as it is: the event is named after its status."""
    match draft.status:
        case "generating":
            return PendingEvent("response:generating", draft, draft.conversation_id)
        case "completed":
            return PendingEvent("response:completed", draft, draft.conversation_id)
        case "failed":
            return PendingEvent("response:failed", draft, draft.conversation_id)
        case "cancelled":
            return PendingEvent("response:cancelled", draft, draft.conversation_id)
        case "queued":
            raise ValueError("Nobody is told of a draft that only waits")


def once_key(draft: DraftDetails) -> str:
    """Under which the event of a queued draft is published: several gateways may get to know of the same."""
    return f"{draft.response_id}:{draft.status}"


def ending_of(row: Record) -> list[DraftDetails]:
    """What is told of a draft that has ended, given its row with whether it ever `began` as a job.

    That it began goes out once more before, in case this got lost or is still on its way through another gateway: readers would take a
    draft for one that is being written if they heard of its beginning last.
    """
    draft = details_of_row(row)
    return [_as_it_began(draft), draft] if row["began"] else [draft]


class LiveTokens:
    """A draft's pieces on their way to those who watch it grow. Who begins to watch in the middle gets what there is as one piece."""

    def __init__(self, events: EventPublisher, account_id: UUID, response_id: UUID) -> None:
        self._events = events
        self._account_id = account_id
        self._response_id = response_id
        self._held: dict[int, list[str]] = defaultdict(list)
        self._sequence = 0

    def add(self, token: TokenEvent) -> None:
        self._held[token.index].append(token.text)
        if not self._events.tokens_wanted(self._account_id):
            return
        for index, texts in self._held.items():
            piece = DraftToken(response_id=self._response_id, index=index, sequence=self._sequence, text="".join(texts))
            self._events.publish_token(self._account_id, piece)
            self._sequence += 1
        self._held.clear()


def _as_it_began(draft: DraftDetails) -> DraftDetails:
    """The draft as it was when its turn had come."""
    return structs.replace(
        draft, status="generating", response=None, confidence=None, model_version=None, tokens_used=None, candidates=None, cached=False,
        completed_at=None, error=None, action=None, edited_response=None, rejection_reason=None, sample_id=None,
    )  # fmt: skip
