from collections import defaultdict
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record

from gateway.conversations import cursor, queries
from gateway.conversations.cursor import Place
from gateway.conversations.lines import lines_of, thread_of
from gateway.conversations.prompt import Prompt, render
from gateway.conversations.reactions import SentReaction, standing
from gateway.conversations.schemas import (
    Conversation,
    ConversationPage,
    FoundMessage,
    FoundPage,
    Message,
    MessagePage,
    Participant,
    Reaction,
)
from gateway.database import Database, Db
from gateway.errors import BadRequest, NotFound
from gateway.events.publisher import EventPublisher
from gateway.message_text.blank import shown
from gateway.message_text.search_words import search_query
from gateway.sync.forgetting import MadeFromMessages, Wakes
from gateway.sync.schemas import Attachment

_PREVIEW = 140  # characters


class ConversationService:
    """The threads of an account, read, searched and deleted."""

    def __init__(self, database: Database, deletions: Wakes, events: EventPublisher, made_from_messages: MadeFromMessages) -> None:
        self._database = database
        self._events = events
        self._deletions = deletions
        self._made_from_messages = made_from_messages

    async def list(self, account_id: UUID, name_part: str | None, page: int, page_size: int) -> ConversationPage:
        """Threads, latest first; with `name_part` those that are named so or have somebody in them who is."""
        async with self._database.connection() as db:
            total = await queries.count_conversations(db, account_id, name_part)
            rows = await queries.conversations(db, account_id, name_part, page_size, (page - 1) * page_size)
            people = await queries.participants(db, account_id, [row["id"] for row in rows])
        present: dict[UUID, list[Participant]] = defaultdict(list)
        for person in people:
            present[person["conversation_id"]].append(
                Participant(id=person["id"], display_name=person["display_name"], contact_id=person["contact_id"])
            )
        return ConversationPage(
            conversations=[_conversation(row, present[row["id"]]) for row in rows], total=total, page=page, page_size=page_size
        )

    async def messages(self, account_id: UUID, conversation_id: UUID, page: int, page_size: int, before: str | None) -> MessagePage:
        """Messages of a thread, newest first: a page by its number, or what comes `before` a cursor.

        Raises:
            NotFound: no such thread, or another account's.
            BadRequest: the cursor is none, or a page number came with it.
        """
        if before is not None and page != 1:
            raise BadRequest.field("before", "goes without page; send one of them")
        place = cursor.decode(before) if before is not None else None
        async with self._database.connection() as db:
            total = await queries.message_count(db, account_id, conversation_id)
            if total is None:
                conversation_id = await queries.current(db, account_id, conversation_id)
                total = await queries.message_count(db, account_id, conversation_id)
            if total is None:
                raise NotFound("No conversation with this id")
            if place is None:
                rows = await queries.page(db, account_id, conversation_id, page_size + 1, (page - 1) * page_size)
            else:
                rows = await queries.page_before(db, account_id, conversation_id, page_size + 1, place)
            shown = rows[:page_size]
            about = await _reactions(db, account_id, shown)
        more = len(rows) > page_size
        return MessagePage(
            messages=[_message(row, about) for row in shown],
            total=total,
            page=page if place is None else None,
            page_size=page_size,
            next_cursor=cursor.encode(Place(shown[-1]["sent_at"], shown[-1]["id"])) if more else None,
        )

    async def search(self, account_id: UUID, words: str, conversation_id: UUID | None, page: int, page_size: int) -> FoundPage:
        """Messages whose text has the words, newest first. `words` may have quotes, `or` and `-`; without any word nothing is found.

        Raises:
            BadRequest: it says only what to leave out.
            Unavailable: it took too long.
        """
        query = search_query(words)
        if query is None:
            return FoundPage(messages=[], total=0, page=page, page_size=page_size)
        async with self._database.heavy_transaction() as db:
            conversation_id = await current_conversation(db, account_id, conversation_id)
            rows, total = await queries.search(db, account_id, query, conversation_id, page_size, (page - 1) * page_size)
            about = await _reactions(db, account_id, rows)
        return FoundPage(messages=[_found(row, about) for row in rows], total=total, page=page, page_size=page_size)

    async def delete(self, account_id: UUID, conversation_id: UUID) -> None:
        """Delete a thread and all that came from it: messages, drafts, samples, cached answers.

        Raises:
            NotFound: no such thread, or another account's.
        """
        async with self._database.transaction() as db:
            conversation_id = await queries.current(db, account_id, conversation_id)
            if not await queries.hold(db, account_id, conversation_id):
                raise NotFound("No conversation with this id")
            ended = await self._made_from_messages.forget_conversation(db, account_id, conversation_id)
            await queries.delete(db, account_id, conversation_id)
        self._deletions.wake()
        self._events.forget(account_id, conversation_id)
        self._events.publish_all(account_id, ended)


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


async def current_conversation(db: Db, account_id: UUID, conversation_id: UUID | None) -> UUID | None:
    """What a filter by conversation means: the one that it has become part of, if it has; any, if there is none."""
    return None if conversation_id is None else await queries.current(db, account_id, conversation_id)


async def draft_context(db: Db, account_id: UUID, message_id: UUID, *, max_history: int, include_contact_info: bool) -> DraftContext:
    """The prompt for an answer to a message, from the last `max_history` messages up to and with it.

    Call it when the draft's row is committed, or while the thread is held in the transaction that stores it: a retraction then either
    comes before the prompt is read or finds the row.

    Raises:
        NotFound: no such message, or another account's.
    """
    rows = await queries.draft_context(db, account_id, message_id, max_history)
    if not rows:
        raise NotFound("No message with this id; sync it first")
    chosen = rows[0]
    return DraftContext(
        conversation_id=chosen["conversation_id"],
        message_id=message_id,
        direction=chosen["chosen_direction"],
        message_type=chosen["chosen_type"],
        retracted=chosen["chosen_retracted"],
        has_text=chosen["chosen_has_text"],
        prompt=render(thread_of(chosen), lines_of(rows), include_contact_info=include_contact_info),
    )


async def _reactions(db: Db, account_id: UUID, rows: "list[Record]") -> "dict[str, list[Reaction]]":
    """The reactions that stand on messages, by the messages' guids."""
    sent: dict[str, list[SentReaction]] = defaultdict(list)
    for row in await queries.reactions(db, account_id, [row["imessage_guid"] for row in rows]) if rows else ():
        sent[row["associated_message_guid"]].append(
            SentReaction(
                type=row["associated_message_type"] or "",
                speaker=str(row["contact_id"] or row["sender_id"]),
                direction=row["direction"],
                sender_id=row["sender_id"],
                sender_name=row["sender_name"],
                sent_at=row["sent_at"],
            )
        )
    return {guid: [_reaction(word, reaction) for word, reaction in standing(about)] for guid, about in sent.items()}


def _reaction(word: str, sent: SentReaction) -> Reaction:
    return Reaction(type=word, direction=sent.direction, sender_id=sent.sender_id, sender_name=sent.sender_name, sent_at=sent.sent_at)


def _conversation(row: Record, participants: "list[Participant]") -> Conversation:
    return Conversation(
        id=row["id"],
        imessage_id=row["imessage_id"],
        imessage_ids=row["imessage_ids"] or [row["imessage_id"]],
        display_name=row["display_name"] or ", ".join(person.display_name for person in participants) or None,
        is_group=row["is_group"],
        participants=participants,
        message_count=row["message_count"],
        last_message_at=row["last_message_at"],
        last_message_preview=_preview(row["last_text"], row["last_attachment"]),
    )


def _preview(text: str | None, attachment: str | None) -> str | None:
    """A message in one short line; an attachment without words is its file's name."""
    line = " ".join(shown(text).split()) or attachment
    if line is None or len(line) <= _PREVIEW:
        return line
    return line[: _PREVIEW - 1].rstrip() + "…"


def _message(row: Record, about: "dict[str, list[Reaction]]") -> Message:
    return Message(**_fields(row, about))


def _found(row: Record, about: "dict[str, list[Reaction]]") -> FoundMessage:
    return FoundMessage(**_fields(row, about), conversation_id=row["conversation_id"])


def _fields(row: Record, about: "dict[str, list[Reaction]]") -> dict[str, Any]:
    return {
        "id": row["id"],
        "imessage_guid": row["imessage_guid"],
        "sender_id": row["sender_id"],
        "sender_name": row["sender_name"],
        "direction": row["direction"],
        "message_type": row["message_type"],
        "text": row["text"],
        "sent_at": row["sent_at"],
        "edited_at": row["edited_at"],
        "retracted_at": row["retracted_at"],
        "reply_to_guid": row["reply_to_guid"],
        "associated_message_guid": row["associated_message_guid"],
        "associated_message_type": row["associated_message_type"],
        "reactions": about.get(row["imessage_guid"], []),
        "attachments": msgspec.convert(row["attachments"] or [], list[Attachment]),
    }
