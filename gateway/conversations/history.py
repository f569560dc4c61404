"""The owner's past replies, with what they answered: what a draft's prompt would have been, and what the owner wrote instead."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from asyncpg import Record

from gateway.conversations import queries
from gateway.conversations.lines import lines_of, thread_of
from gateway.conversations.prompt import Line, Thread, bursts
from gateway.database import Db
from gateway.errors import NotFound

LONGEST_TEXT = 4_000
"""Characters; a longer message is no example of how somebody writes messages."""
_LONGEST_BURST = 20  # messages


@dataclass(frozen=True, slots=True, kw_only=True)
class PastReply:
    """Where a reply of the owner's begins, and the message right before it."""

    id: UUID
    conversation_id: UUID
    answered_id: UUID
    sent_at: datetime


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
        conversation_id = await queries.current(db, account_id, conversation_id)
    if conversation_id is not None and await queries.message_count(db, account_id, conversation_id) is None:
        raise NotFound("No conversation with this id")
    return [PastReply(**row) for row in await queries.past_replies(db, account_id, conversation_id, since, within, limit)]


async def hold_threads(db: Db, account_id: UUID, conversation_ids: Sequence[UUID]) -> None:
    """Keep threads as they are until the caller's transaction ends: what is made from a text is there before a retraction looks for it."""
    await queries.share_conversations(db, account_id, conversation_ids)


async def exchanges(db: Db, account_id: UUID, replies: Sequence[PastReply], max_history: int) -> list[Exchange]:
    """Read these replies in full, each with the last `max_history` messages up to the answered one. A reply that is not there any more, or
    does not begin there any more, is left out.
    """
    answered = [reply.answered_id for reply in replies]
    before = _grouped(await queries.contexts(db, account_id, answered, max_history, LONGEST_TEXT + 1), "chosen_id")
    firsts = [reply.id for reply in replies]
    after = _grouped(await queries.next_lines(db, account_id, firsts, _LONGEST_BURST, LONGEST_TEXT + 1), "first_id")
    found = (_exchange(reply, before[reply.answered_id], after[reply.id]) for reply in replies)
    return [exchange for exchange in found if exchange is not None]


def _exchange(reply: PastReply, before: list[Record], after: list[Record]) -> Exchange | None:
    if not before or not after:
        return None
    chosen = before[0]
    thread = thread_of(chosen)
    lines, following = lines_of(before), bursts(thread, lines_of(after))
    if not lines or lines[-1].id != reply.answered_id or not following or following[0].lines[0].id != reply.id:
        return None
    return Exchange(
        reply=reply,
        thread=thread,
        lines=lines,
        said=following[0].lines,
        answerable=chosen["chosen_has_text"],
    )


def _grouped(rows: Sequence[Record], key: str) -> defaultdict[UUID, list[Record]]:
    groups: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        groups[row[key]].append(row)
    return groups
