"""The owner's past replies, with what they answered: what a draft's prompt would have been, and what the owner wrote instead."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from gateway.conversations import queries
from gateway.conversations.prompt import Line, Thread, bursts
from gateway.conversations.queries import AnsweredMessage, PastReply
from gateway.database import Db
from shared.errors import NotFound

__all__ = ["LONGEST_TEXT", "Exchange", "PastReply", "exchanges", "hold_threads", "past_replies"]

LONGEST_TEXT = 4_000
"""Characters; a longer message is no example of how somebody writes messages."""
_LONGEST_BURST = 20  # messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """A past reply: `lines` up to the answered message are what a draft is made from, `said` is what the owner wrote in one go."""

    reply: PastReply
    thread: Thread
    lines: list[Line]
    said: list[Line]
    answerable: bool
    """Whether a draft could be asked for: the answered message is a text."""

    @property
    def text(self) -> str:
        """What the owner wrote, a line each message."""
        return "\n".join(line.content for line in self.said)

    @property
    def too_long(self) -> bool:
        return any(len(line.text or "") > LONGEST_TEXT for line in (*self.lines, *self.said))


async def past_replies(
    db: Db, account_id: UUID, *, conversation_id: UUID | None, since: datetime | None, within: timedelta, limit: int
) -> list[PastReply]:
    """The newest replies of the account, or of one thread: own messages that come right after somebody else's, at most `within` later.

    Raises:
        NotFound: no such thread, or another account's.
    """
    if conversation_id is not None:
        found = await queries.find(db, account_id, conversation_id)
        if found is None:
            raise NotFound("No conversation with this id")
        conversation_id, _ = found
    return await queries.past_replies(db, account_id, conversation_id, since, within, limit)


async def hold_threads(db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> None:
    """Keep threads as they are until the caller's transaction ends: what is made from a text is there before a retraction looks for it."""
    await queries.share_conversations(db, account_id, conversation_ids)


async def exchanges(db: Db, account_id: UUID, replies: Sequence[PastReply], max_history: int) -> list[Exchange]:
    """Read these replies in full, each with the last `max_history` messages up to the answered one. A reply that is not there any more, or
    does not begin there any more, is left out.
    """
    answered_ids, first_ids = [reply.answered_id for reply in replies], [reply.id for reply in replies]
    answered = await queries.answered(db, account_id, answered_ids)
    before = await queries.lines_before(db, account_id, answered_ids, max_history, LONGEST_TEXT + 1)
    after = await queries.lines_from(db, account_id, first_ids, _LONGEST_BURST, LONGEST_TEXT + 1)
    found = (_exchange(reply, answered.get(reply.answered_id), before[reply.answered_id], after[reply.id]) for reply in replies)
    return [exchange for exchange in found if exchange is not None]


def _exchange(reply: PastReply, answered: AnsweredMessage | None, lines: list[Line], after: list[Line]) -> Exchange | None:
    if answered is None or not lines or lines[-1].id != reply.answered_id:
        return None
    following = bursts(answered.thread, after)
    if not following or following[0][0].id != reply.id:
        return None
    return Exchange(reply=reply, thread=answered.thread, lines=lines, said=following[0], answerable=answered.has_text)
