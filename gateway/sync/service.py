from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from msgspec import UNSET

from gateway.database import Database, Db
from gateway.errors import Unavailable
from gateway.events.publisher import EventPublisher
from gateway.events.schemas import SyncCompleted
from gateway.limits.allowances import Allowances
from gateway.sync import queries
from gateway.sync.batch import Batch, reaction_type, stored_attachments, target_guid
from gateway.sync.direct_chats import DirectChats
from gateway.sync.forgetting import ForgetsMessages, Forgotten, Wakes
from gateway.sync.merging import Content, KnownMessage, attachments_json, merge, text_went
from gateway.sync.schemas import MessageBatch, MessageId, SyncedMessage, SyncedMessages, SyncState, ThreadState


@dataclass(slots=True)
class _Outcome:
    """What a batch did: the id of every message in it, the threads of those that lie in others, by guid; the new contents, and whose text
    went, by conversation.
    """

    ids: dict[str, UUID]
    created: int
    elsewhere: dict[str, UUID] = field(default_factory=dict)
    changed: dict[UUID, Content] = field(default_factory=dict)
    forgotten: dict[UUID, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    moved_in_time: bool = False
    growth: int = 0
    """Bytes that the batch takes beside its new messages, or gives back."""


class _HoldFirst(Exception):
    """Rolls a batch back that takes text out of other threads: these have to be held too, so that whoever begins to make something of them
    is found, or reads what is stored. They are held before anything else, in one order, so that no two batches wait for each other.
    """

    def __init__(self, conversation_ids: set[UUID]) -> None:
        super().__init__()
        self.conversation_ids = conversation_ids


class _NewDirectChat(Exception):
    """Rolls a batch back whose chat with one person is not known by this identifier yet: which conversation it is of is settled first, in a
    transaction of its own, because that takes locks in another order.
    """

    def __init__(self, peer: str) -> None:
        super().__init__()
        self.peer = peer


class SyncService:
    """Takes in the messages of a thread. A batch is stored as a whole or not at all, and sending it again changes nothing."""

    def __init__(
        self,
        database: Database,
        deletions: Wakes,
        events: EventPublisher,
        allowances: Allowances,
        chats: DirectChats,
        forgetful: Sequence[ForgetsMessages] = (),
    ) -> None:
        """`forgetful` are those that keep text of messages and must let go of it."""
        self._database = database
        self._events = events
        self._deletions = deletions
        self._allowances = allowances
        self._chats = chats
        self._forgetful = forgetful

    async def sync_messages(self, account_id: UUID, sent: MessageBatch) -> SyncedMessages:
        """Store a batch; when this returns it is committed.

        Raises:
            BadRequest: a message cannot be stored; nothing of the batch is.
            PayloadTooLarge: it would be more than the account may store; nothing of it is. What adds nothing is always taken.
            Unavailable: the database went away, or a message's thread. Send the batch again: whether it was stored makes no difference.
        """
        batch = Batch(sent)
        held: set[UUID] = set()
        while True:
            try:
                conversation_id, outcome, forgotten = await self._in_one_transaction(account_id, batch, held)
                break
            except _HoldFirst as others:
                held |= others.conversation_ids
            except _NewDirectChat as chat:
                name = sent.conversation_display_name or None
                await self._chats.add(account_id, sent.conversation_imessage_id, chat.peer, name)
        if outcome.forgotten:
            self._deletions.wake()
            for thread in outcome.forgotten:
                self._events.forget(account_id, thread)
            for each in forgotten:
                self._events.publish_all(account_id, each.events)
        ids = outcome.ids
        synced = SyncedMessages(
            conversation_id=conversation_id,
            created=outcome.created,
            updated=len(outcome.changed),
            unchanged=len(ids) - outcome.created - len(outcome.changed),
            messages=[
                MessageId(imessage_guid=guid, id=ids[guid], conversation_id=outcome.elsewhere.get(guid, UNSET))
                for guid in [message.imessage_guid for message in sent.messages]
            ],
            learnt_by_adapter_id=next((each.active_adapter_id for each in forgotten if each.active_adapter_id), UNSET),
        )
        if synced.created or synced.updated:
            counts = SyncCompleted(
                conversation_id=conversation_id, created=synced.created, updated=synced.updated, unchanged=synced.unchanged
            )
            self._events.publish(account_id, "sync:completed", counts, about=conversation_id)
        return synced

    async def _in_one_transaction(self, account_id: UUID, batch: Batch, held: Collection[UUID]) -> tuple[UUID, _Outcome, list[Forgotten]]:
        async with self._database.transaction() as db:
            if held:
                await queries.hold_threads(db, account_id, held)
            conversation_id, grown = await self._thread(db, account_id, batch)
            outcome = await self._store(db, account_id, conversation_id, batch)
            await self._count(db, account_id, conversation_id, outcome, grown)
            if elsewhere := outcome.forgotten.keys() - {conversation_id, *held}:
                raise _HoldFirst({conversation_id, *elsewhere})
            forgotten = [
                await keeper.forget_messages(db, account_id, thread, message_ids)
                for thread, message_ids in outcome.forgotten.items()
                for keeper in self._forgetful
            ]
        return conversation_id, outcome, forgotten

    async def state(self, account_id: UUID) -> SyncState:
        """How far each thread is synced."""
        async with self._database.connection() as db:
            rows = await queries.state(db, account_id)
        return SyncState(
            conversations=[
                ThreadState(
                    conversation_imessage_id=row["imessage_id"],
                    conversation_id=row["id"],
                    message_count=row["message_count"],
                    last_message_guid=row["imessage_guid"],
                    last_sent_at=row["last_message_at"],
                )
                for row in rows
            ]
        )

    async def _count(self, db: Db, account_id: UUID, conversation_id: UUID, outcome: _Outcome, grown: int) -> None:
        """See that the account stores no more than it may, if the batch makes it store more."""
        growth = outcome.growth + grown
        if growth:
            await queries.grow(db, account_id, conversation_id, growth)
        if outcome.created or growth > 0:
            await self._allowances.check_stored(db, account_id)

    async def _thread(self, db: Db, account_id: UUID, batch: Batch) -> tuple[UUID, int]:
        """The batch's thread, locked: made if it is new, with its name and participants as they are now; and the bytes that these take."""
        sent = batch.sent
        thread = await queries.lock_thread(db, account_id, sent.conversation_imessage_id, batch.participants, batch.listed)
        is_group = batch.is_group if thread is None or batch.is_group is not None else thread["is_group"]
        if batch.peer is not None and not is_group and (thread is None or not thread["is_direct_chat"]):
            raise _NewDirectChat(batch.peer)
        if thread is not None:
            strangers: list[str] = thread["strangers"]
            moved: bool = thread["moved"]
            grown = 0
        else:
            strangers, moved = batch.participants, False
            grown = queries.ROW_BYTES
            thread = await queries.add_thread(
                db, account_id, sent.conversation_imessage_id, sent.conversation_display_name or None, bool(batch.is_group)
            )
        conversation_id: UUID = thread["id"]
        known = (thread["display_name"], thread["is_group"])
        now = (sent.conversation_display_name or known[0], known[1] if batch.is_group is None else batch.is_group)
        if now != known:
            await queries.name_thread(db, account_id, conversation_id, *now)
        leaves = now[1] and batch.listed and (strangers or moved)  # of a chat with one person nobody leaves
        if strangers or leaves:
            await queries.share_contacts(db, account_id)
        if strangers:
            await queries.add_participants(db, account_id, conversation_id, strangers)
        if leaves:
            await queries.move_participants(db, conversation_id, batch.listed)
        return conversation_id, grown + len(strangers) * queries.ROW_BYTES

    async def _store(self, db: Db, account_id: UUID, conversation_id: UUID, batch: Batch) -> _Outcome:
        if not batch.messages:
            return _Outcome(ids={}, created=0)
        created = await queries.insert_messages(db, account_id, conversation_id, batch.sent.conversation_imessage_id, batch.columns())
        outcome = _Outcome(ids=batch.ids, created=created)
        if created < len(batch.messages):
            await self._merge(db, account_id, conversation_id, batch, outcome)
        return outcome

    async def _merge(self, db: Db, account_id: UUID, conversation_id: UUID, batch: Batch, outcome: _Outcome) -> None:
        """Bring in the copies of messages that were known already."""
        known_messages = await queries.find_known(db, account_id, list(batch.messages))
        if len(known_messages) < len(batch.messages):  # another thread that had one of them was deleted in this moment
            raise Unavailable("Some of these messages are being deleted with another conversation; send the batch again")
        outcome.ids = {guid: known_messages[guid].id for guid in batch.messages}
        for guid, message in batch.messages.items():
            known = known_messages[guid]
            if known.id == batch.ids[guid]:  # this batch has just stored it
                continue
            if known.conversation_id != conversation_id:
                outcome.elsewhere[guid] = known.conversation_id
            merged = merge(known.content, _content(batch, message, known, conversation_id))
            if merged is known.content:
                continue
            outcome.changed[known.id] = merged
            outcome.moved_in_time |= merged.sent_at != known.content.sent_at
            growth = _size(merged) - _size(known.content)
            # What another thread gives back stays counted there: it is not locked, and a count that is too low could be made use of.
            outcome.growth += growth if known.conversation_id == conversation_id else max(growth, 0)
            if text_went(known.content, merged):
                outcome.forgotten[known.conversation_id].append(known.id)
        if outcome.changed:
            await queries.update_messages(db, account_id, outcome.changed)
        if outcome.moved_in_time:
            await queries.find_last(db, account_id, conversation_id)


def _size(content: Content) -> int:
    """Bytes of what can change in a message."""
    return len((content.text or "").encode()) + len(attachments_json(content.attachments) or "")


def _content(batch: Batch, message: SyncedMessage, known: KnownMessage, conversation_id: UUID) -> Content:
    """A copy as it would be stored; one that comes in another thread's batch does not move in time."""
    content = Content(
        sender_id=batch.sender_of[message.sender_id],
        direction=message.direction,
        message_type=message.message_type,
        text=message.text if message.retracted_at is None else None,
        sent_at=message.sent_at,
        edited_at=message.edited_at,
        retracted_at=message.retracted_at,
        reply_to_guid=message.reply_to_guid,
        associated_message_guid=target_guid(message.associated_message_guid),
        associated_message_type=reaction_type(message),
        attachments=stored_attachments(message),
    )
    return content if known.conversation_id == conversation_id else replace(content, sent_at=known.content.sent_at)
