from collections.abc import Sequence
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.database import Database, Db
from gateway.errors import BadRequest, Conflict, NotFound
from gateway.message_text import is_blank, same_words
from gateway.responses import queries
from gateway.responses.schemas import Accept, Action, ActionName, ActionResult, Candidate, Edit, Reject
from gateway.samples.history_import import ChosenDraft
from gateway.samples.service import NewSample, SampleService
from gateway.wire import utc_now
from shared.contracts.generation import Turn


class ActionService:
    """What the owner does with a draft, and the sample that comes of it."""

    def __init__(self, database: Database, samples: SampleService) -> None:
        self._database = database
        self._samples = samples

    async def act(self, account_id: UUID, response_id: UUID, action: Action) -> ActionResult:
        """Accept, edit or reject a draft; doing the same again gives the same answer and no second sample.

        Raises:
            NotFound: no such draft, or another account's.
            BadRequest: it has no such candidate, or an edit that says nothing.
            Conflict: it is not completed, or something else was done with it.
        """
        if isinstance(action, Edit) and is_blank(action.edited_response):
            raise BadRequest.field("editedResponse", "has no text; reject the draft if there is nothing to say")
        async with self._database.transaction() as db:
            row = await queries.lock(db, account_id, response_id)
            if row is None:
                raise NotFound("There is no response with this id")
            if row["action"] is not None:
                return _repeated(row, action)
            text = _chosen_text(row, action)
            sample_id = await self._samples.record(db, account_id, _sample(row, action, text))
            await queries.act(
                db,
                account_id,
                response_id,
                action=_name(action),
                text=text,
                edited_response=action.edited_response if isinstance(action, Edit) else None,
                rejection_reason=action.rejection_reason if isinstance(action, Reject) else None,
                sample_id=sample_id,
                acted_at=utc_now(),
            )
        return ActionResult(response_id=response_id, action=_name(action), sample_id=sample_id)

    async def chosen_drafts(self, db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> list[ChosenDraft]:
        """What the owner took of these conversations' drafts, and what was written in place of others."""
        return [ChosenDraft(**row) for row in await queries.chosen_texts(db, account_id, conversation_ids)]


def _name(action: Action) -> ActionName:
    match action:
        case Accept():
            return "accept"
        case Edit():
            return "edit"
        case Reject():
            return "reject"


def _repeated(row: Record, action: Action) -> ActionResult:
    """The first answer, if this is the same action to the letter; a changed edit must not get lost unnoticed."""
    edited = action.edited_response if isinstance(action, Edit) else None
    reason = action.rejection_reason if isinstance(action, Reject) else None
    same = (row["action"], row["edited_response"], row["rejection_reason"]) == (_name(action), edited, reason)
    # The row's text is that of the candidate that was acted on, or gone with a retracted message.
    if not same or (row["text"] is not None and row["candidates"] is not None and row["text"] != _candidate_text(row, action)):
        raise Conflict(f"This response was already answered with {row['action']}; a response is answered once")
    return ActionResult(response_id=row["id"], action=row["action"], sample_id=row["sample_id"])


def _chosen_text(row: Record, action: Action) -> str:
    if row["status"] != "completed":
        raise Conflict(f"This response is {row['status']}; only a completed one can be accepted, edited or rejected")
    return _candidate_text(row, action)


def _candidate_text(row: Record, action: Action) -> str:
    candidates = msgspec.convert(row["candidates"], list[Candidate] | None)
    texts = [candidate.text for candidate in candidates] if candidates else [row["text"]]
    if action.candidate >= len(texts):
        raise BadRequest.field("candidate", f"this response has {len(texts)}, counted from 0")
    return str(texts[action.candidate])


def _sample(row: Record, action: Action, draft: str) -> NewSample:
    output: str | None
    rejected: str | None
    match action:
        case Accept():
            output, rejected = draft, None
        case Edit(edited_response=edited):
            output, rejected = edited, None if same_words(edited, draft) else draft
        case Reject():
            output, rejected = None, draft
    return NewSample(
        source=_name(action),
        conversation_id=row["conversation_id"],
        response_id=row["id"],
        turns=msgspec.convert(row["messages"], list[Turn]),
        message_ids=row["message_ids"],
        output=output,
        rejected_output=rejected,
    )
