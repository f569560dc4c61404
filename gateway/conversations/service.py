from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from asyncpg import Record
from msgspec.structs import replace

from gateway.background.reconciler import Reconciler
from gateway.conversations import queries
from gateway.conversations.prompt import LONGEST_LINE, Prompt, render
from gateway.conversations.queries import AnsweredMessage
from gateway.conversations.schemas import Conversation, ConversationPage, FoundPage, Message, MessagePage, Participant, Reaction
from gateway.database import Database, Db
from gateway.events.publisher import EventPublisher
from gateway.message_text.blank import shown
from gateway.message_text.search_words import search_query
from gateway.sync.forgetting import MadeFromMessages
from shared.errors import BadRequest, NotFound

_PREVIEW = 140  # characters
# Apple's numbers of reactions, which are kept as they came; with 3 in front a reaction is taken back.
_REACTIONS = ("love", "like", "dislike", "laugh", "emphasize", "question", "emoji", "sticker")
_WORDS = {f"200{number}": word for number, word in enumerate(_REACTIONS)} | {
    f"300{number}": f"-{word}" for number, word in enumerate(_REACTIONS)
}

_AnyMessage = TypeVar("_AnyMessage", bound=Message)


class ConversationService:
    """The threads of an account, read, searched and deleted."""

    def __init__(self, database: Database, deletions: Reconciler, events: EventPublisher, made_from_messages: MadeFromMessages) -> None:
        self._database = database
        self._events = events
        self._deletions = deletions
        self._made_from_messages = made_from_messages

    async def list(self, account_id: UUID, name_part: str | None, page: int, page_size: int) -> ConversationPage:
        """Threads, latest first; with `name_part` those that are named so or have somebody in them who is."""
        async with self._database.connection() as db:
            total = await queries.count_conversations(db, account_id, name_part)
            listed = await queries.conversations(db, account_id, name_part, page_size, (page - 1) * page_size)
            present = await queries.participants(db, account_id, [each["id"] for each in listed])
        conversations = [_conversation(each, present.get(each["id"], [])) for each in listed]
        return ConversationPage(conversations=conversations, total=total, page=page, page_size=page_size)

    async def get(self, account_id: UUID, conversation_id: UUID) -> Conversation:
        """One thread; under the id of a thread that has become part of it, too.

        Raises:
            NotFound: no such thread, or another account's.
        """
        async with self._database.connection() as db:
            found = await queries.conversation(db, account_id, conversation_id)
            if found is None:
                raise NotFound("No conversation with this id")
            present = await queries.participants(db, account_id, [found["id"]])
        return _conversation(found, present.get(found["id"], []))

    async def messages(self, account_id: UUID, conversation_id: UUID, page: int, page_size: int, before: str | None) -> MessagePage:
        """Messages of a thread, newest first: a page by its number, or what comes `before` a cursor, which is the id of a message.

        Raises:
            NotFound: no such thread, or another account's.
            BadRequest: the cursor is none, or a page number came with it.
        """
        if before is not None and page != 1:
            raise BadRequest.field("before", "goes without page; send one of them")
        async with self._database.connection() as db:
            found = await queries.find(db, account_id, conversation_id)
            if found is None:
                raise NotFound("No conversation with this id")
            conversation_id, total = found
            offset = (page - 1) * page_size
            messages = await queries.page(db, account_id, conversation_id, page_size + 1, offset, _cursor(before))
            if messages is None:
                raise _no_cursor()
            has_more, messages = len(messages) > page_size, messages[:page_size]
            messages = await _with_reactions(db, account_id, messages)
        return MessagePage(
            messages=messages,
            total=total,
            page=page if before is None else None,
            page_size=page_size,
            next_cursor=str(messages[-1].id) if has_more else None,
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
            messages, total = await queries.search(db, account_id, query, conversation_id, page_size, (page - 1) * page_size)
            messages = await _with_reactions(db, account_id, messages)
        return FoundPage(messages=messages, total=total, page=page, page_size=page_size)

    async def delete(self, account_id: UUID, conversation_id: UUID) -> None:
        """Delete a thread and all that came from it: messages, drafts, samples, cached answers.

        Raises:
            NotFound: no such thread, or another account's.
        """
        async with self._database.transaction() as db:
            held_id = await queries.hold(db, account_id, conversation_id)
            if held_id is None:
                raise NotFound("No conversation with this id")
            ended = await self._made_from_messages.forget_conversation(db, account_id, held_id)
            await queries.delete(db, account_id, held_id)
        self._deletions.wake()
        self._events.forget(account_id, held_id)
        self._events.publish(account_id, *ended)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftContext:
    """What a draft starts from: the message to answer, and the prompt that ends with it."""

    message: AnsweredMessage
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
    message = (await queries.answered(db, account_id, [message_id])).get(message_id)
    if message is None:
        raise NotFound("No message with this id; sync it first")
    lines = (await queries.lines_before(db, account_id, [message_id], max_history, LONGEST_LINE))[message_id]
    return DraftContext(message=message, prompt=render(message.thread, lines, include_contact_info=include_contact_info))


def _cursor(before: str | None) -> UUID | None:
    try:
        return UUID(before) if before is not None else None
    except ValueError:
        raise _no_cursor() from None


def _no_cursor() -> BadRequest:
    return BadRequest.field("before", "is not a cursor; take nextCursor of the page before")


async def _with_reactions(db: Db, account_id: UUID, messages: "Sequence[_AnyMessage]") -> "list[_AnyMessage]":
    """Messages with the reactions that stand on them: each person's last one, unless it took back another."""
    about: defaultdict[str, list[Reaction]] = defaultdict(list)
    for guid, reaction in await queries.reactions(db, account_id, [message.imessage_guid for message in messages]):
        word = _WORDS.get(reaction.type, reaction.type)
        if not word.startswith("-"):
            about[guid].append(replace(reaction, type=word))
    return [replace(message, reactions=about[message.imessage_guid]) for message in messages]


def _conversation(listed: Record, participants: "list[Participant]") -> Conversation:
    columns = dict(listed)
    preview = _preview(columns.pop("last_text"), columns.pop("last_attachment"))
    columns["imessage_ids"] = columns["imessage_ids"] or [columns["imessage_id"]]
    columns["display_name"] = columns["display_name"] or ", ".join(person.display_name for person in participants) or None
    return Conversation(**columns, participants=participants, last_message_preview=preview)


def _preview(text: str | None, attachment: str | None) -> str | None:
    """A message in one short line; an attachment without words is its file's name."""
    line = " ".join(shown(text).split()) or attachment
    if line is None or len(line) <= _PREVIEW:
        return line
    return line[: _PREVIEW - 1].rstrip() + "…"
