from dataclasses import dataclass
from uuid import UUID

from asyncpg import Record

from gateway.conversations import queries
from gateway.conversations.prompt import Line, Prompt, Thread, render
from gateway.database import Db
from gateway.errors import NotFound


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftContext:
    """What a draft starts from: facts about the message to answer, and the prompt that ends with it."""

    conversation_id: UUID
    message_id: UUID
    direction: str
    message_type: str
    retracted: bool
    has_text: bool
    prompt: Prompt


async def draft_context(db: Db, account_id: UUID, message_id: UUID, *, max_history: int, include_contact_info: bool) -> DraftContext:
    """The prompt for an answer to a message, from the last `max_history` messages up to and with it.

    Call it inside the transaction that stores the draft's row: until that ends, no sync of the thread goes on, so a retraction either comes
    before the prompt is read or finds the row.

    Raises:
        NotFound: no such message, or another account's.
    """
    if not await queries.lock_thread(db, account_id, message_id):
        raise NotFound("No message with this id; sync it first")
    rows = await queries.draft_context(db, account_id, message_id, max_history)
    if not rows:
        raise NotFound("No message with this id; sync it first")
    chosen = rows[0]
    thread = Thread(is_group=chosen["is_group"], title=chosen["title"], names=chosen["names"] or ())
    return DraftContext(
        conversation_id=chosen["conversation_id"],
        message_id=message_id,
        direction=chosen["chosen_direction"],
        message_type=chosen["chosen_type"],
        retracted=chosen["chosen_retracted"],
        has_text=chosen["chosen_has_text"],
        prompt=render(thread, [_line(row) for row in rows if row["id"] is not None], include_contact_info=include_contact_info),
    )


def _line(row: Record) -> Line:
    return Line(
        id=row["id"],
        direction=row["direction"],
        speaker=str(row["contact_id"] or row["sender_id"]),
        sent_at=row["sent_at"],
        text=row["text"],
        name=row["sender_name"],
        attachment=row["attachment"],
    )
