from collections.abc import Callable, Sequence
from uuid import UUID

from gateway.database import Database, Db
from gateway.message_text.blank import is_blank
from gateway.message_text.comparing import same_words
from gateway.responses import queries
from gateway.responses.schemas import Accept, Action, ActionName, ActionResult, DraftDetails, Edit, Reject
from gateway.samples.history_import import ChosenDraft
from gateway.samples.service import SampleRow, SampleService
from gateway.wire import utc_now
from shared.errors import BadRequest, Conflict, NotFound
from shared.ids import new_id

_NAMES: dict[type[Action], ActionName] = {Accept: "accept", Edit: "edit", Reject: "reject"}


class FeedbackService:
    """What the owner does with a draft, and the sample that comes of it."""

    def __init__(self, database: Database, samples: SampleService, judged: Callable[[ActionName, str], None]) -> None:
        """`judged` is told of each action and the model version that wrote the draft."""
        self._database = database
        self._samples = samples
        self._judged = judged

    async def act(self, account_id: UUID, draft_id: UUID, action: Action) -> ActionResult:
        """Accept, edit or reject a draft; doing the same again gives the same answer and no second sample.

        Raises:
            NotFound: no such draft, or another account's.
            BadRequest: it has no such candidate, or an edit that says nothing.
            Conflict: it is not completed, or something else was done with it.
        """
        if isinstance(action, Edit) and is_blank(action.edited_response):
            raise BadRequest.field("editedResponse", "has no text; reject the draft if there is nothing to say")
        async with self._database.transaction() as db:
            prompted = await queries.lock(db, account_id, draft_id)
            if prompted is None:
                raise NotFound("There is no response with this id")
            draft = prompted.details
            if draft.action is not None:
                return _repeated(draft, action)
            if draft.status != "completed":
                raise Conflict(f"This response is {draft.status}; only a completed one can be accepted, edited or rejected")
            text = _chosen_text(draft, action)
            output, rejected_output = _taught(action, text)
            sample_id = await self._samples.record(
                db,
                account_id,
                SampleRow(
                    id=new_id(),
                    source=_NAMES[type(action)],
                    conversation_id=draft.conversation_id,
                    response_id=draft_id,
                    messages=prompted.turns,
                    message_ids=prompted.message_ids,
                    answered_id=prompted.message_ids[-1],
                    output=output,
                    rejected_output=rejected_output,
                    quality=0.0 if output is None else 1.0,
                    replied_at=utc_now(),
                ),
            )
            await queries.act(
                db,
                account_id,
                draft_id,
                action=_NAMES[type(action)],
                text=text,
                edited_response=action.edited_response if isinstance(action, Edit) else None,
                rejection_reason=action.rejection_reason if isinstance(action, Reject) else None,
                sample_id=sample_id,
            )
        self._judged(_NAMES[type(action)], draft.model_version or "")
        return ActionResult(response_id=draft_id, action=_NAMES[type(action)], sample_id=sample_id)

    async def chosen_drafts(self, db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> list[ChosenDraft]:
        """What the owner took of these conversations' drafts, and what was written in place of others."""
        return [ChosenDraft(**row) for row in await queries.chosen_texts(db, account_id, conversation_ids)]


def _repeated(draft: DraftDetails, action: Action) -> ActionResult:
    """The first answer, if this is the same action to the letter; a changed edit must not get lost unnoticed."""
    edited = action.edited_response if isinstance(action, Edit) else None
    reason = action.rejection_reason if isinstance(action, Reject) else None
    same = (draft.action, draft.edited_response, draft.rejection_reason) == (_NAMES[type(action)], edited, reason)
    # The draft's text is that of the candidate that was acted on, or gone with a retracted message.
    if not same or (draft.response is not None and draft.candidates and draft.response != _chosen_text(draft, action)):
        raise Conflict(f"This response was already answered with {draft.action}; a response is answered once")
    assert draft.sample_id is not None  # it is stored with the action
    return ActionResult(response_id=draft.response_id, action=_NAMES[type(action)], sample_id=draft.sample_id)


def _chosen_text(draft: DraftDetails, action: Action) -> str:
    texts = [candidate.text for candidate in draft.candidates] if draft.candidates else [draft.response or ""]
    if action.candidate >= len(texts):
        raise BadRequest.field("candidate", f"this response has {len(texts)}, counted from 0")
    return texts[action.candidate]


def _taught(action: Action, draft: str) -> tuple[str | None, str | None]:
    """What the sample says to write, and what not to write."""
    match action:
        case Accept():
            return draft, None
        case Edit(edited_response=edited):
            return edited, None if same_words(edited, draft) else draft
        case Reject():
            return None, draft
