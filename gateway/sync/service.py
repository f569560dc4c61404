from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from uuid import UUID

from msgspec import UNSET
from msgspec.structs import replace

from gateway.background.reconciler import Reconciler
from gateway.database import Database, Db
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.schemas import SyncCompleted
from gateway.limits.allowances import Allowances
from gateway.sync import queries
from gateway.sync.batch import Batch, checked
from gateway.sync.direct_chats import DirectChats
from gateway.sync.forgetting import Forgotten, MadeFromMessages
from gateway.sync.merging import Content, merge, text_went
from gateway.sync.queries import LockedConversation
from gateway.sync.schemas import MessageBatch, MessageId, SyncedMessages, SyncState
from shared.errors import Unavailable
from shared.ids import new_id


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """What a batch did in its conversation."""

    conversation_id: UUID
    is_direct_chat: bool
    growth: int
    """Bytes that are stored now, or given back."""
    ids: dict[str, UUID]
    """Of every message of the batch, by guid."""
    created: set[str] = field(default_factory=set)
    """Guids."""
    elsewhere: dict[str, UUID] = field(default_factory=dict)
    """The conversations of the messages that lie in others, by guid."""
    changed: dict[UUID, Content] = field(default_factory=dict)
    without_text: dict[UUID, list[UUID]] = field(default_factory=lambda: defaultdict(list))
    """The messages whose text went, by conversation."""
    forgotten: list[Forgotten] = field(default_factory=list)


class _HoldFirst(Exception):
    """Rolls a batch back that takes text out of other conversations: these have to be held too, so that whoever begins to make something
    of them is found, or reads what is stored. They are held before anything else, in one order, so that no two batches wait for each other.
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
    """Takes in the messages of a conversation. A batch is stored as a whole or not at all, and sending it again changes nothing."""

    def __init__(
        self,
        database: Database,
        deletions: Reconciler,
        events: EventPublisher,
        allowances: Allowances,
        chats: DirectChats,
        made_from_messages: MadeFromMessages,
    ) -> None:
        self._database = database
        self._deletions = deletions
        self._events = events
        self._allowances = allowances
        self._chats = chats
        self._made_from_messages = made_from_messages

    async def sync_messages(self, account_id: UUID, sent: MessageBatch) -> SyncedMessages:
        """Store a batch; when this returns it is committed.

        Raises:
            BadRequest: a message cannot be stored; nothing of the batch is.
            PayloadTooLarge: it would be more than the account may store; nothing of it is. What adds nothing is always taken.
            Unavailable: the database went away, or a message's conversation. Send the batch again: whether it was stored makes no
                difference.
        """
        batch = checked(sent)
        held: set[UUID] = set()
        while True:
            try:
                outcome = await self._in_one_transaction(account_id, batch, held)
                break
            except _HoldFirst as others:
                held |= others.conversation_ids
            except _NewDirectChat as chat:
                await self._chats.add(account_id, batch.imessage_id, chat.peer, batch.display_name)
        synced = SyncedMessages(
            conversation_id=outcome.conversation_id,
            created=len(outcome.created),
            updated=len(outcome.changed),
            unchanged=len(batch.messages) - len(outcome.created) - len(outcome.changed),
            messages=[
                MessageId(imessage_guid=guid, id=outcome.ids[guid], conversation_id=outcome.elsewhere.get(guid, UNSET))
                for guid in [message.imessage_guid for message in sent.messages]
            ],
            learnt_by_adapter_id=next((each.active_adapter_id for each in outcome.forgotten if each.active_adapter_id), UNSET),
        )
        self._announce(account_id, outcome, synced)
        return synced

    async def state(self, account_id: UUID) -> SyncState:
        """How far each chat is synced."""
        async with self._database.connection() as db:
            return SyncState(conversations=await queries.state(db, account_id))

    async def _in_one_transaction(self, account_id: UUID, batch: Batch, held: Collection[UUID]) -> _Outcome:
        async with self._database.transaction() as db:
            if held:
                await queries.hold_conversations(db, account_id, held)
            outcome = await self._begin(db, account_id, batch)
            if batch.messages:
                await self._store(db, account_id, batch, outcome)
            await self._count(db, account_id, batch, outcome)
            if elsewhere := outcome.without_text.keys() - {outcome.conversation_id, *held}:
                raise _HoldFirst({outcome.conversation_id, *elsewhere})
            for conversation_id, message_ids in outcome.without_text.items():
                outcome.forgotten.append(await self._made_from_messages.forget_messages(db, account_id, conversation_id, message_ids))
        return outcome

    async def _begin(self, db: Db, account_id: UUID, batch: Batch) -> _Outcome:
        """Lock the batch's conversation, or make it, and bring its name and participants up to date."""
        conversation = await queries.lock_conversation(db, account_id, batch.imessage_id)
        is_group = conversation.is_group if conversation is not None and batch.is_group is None else bool(batch.is_group)
        if batch.peer is not None and not is_group and (conversation is None or not conversation.is_direct_chat):
            raise _NewDirectChat(batch.peer)
        growth = 0
        if conversation is None:
            conversation = await queries.add_conversation(db, account_id, batch.imessage_id, batch.display_name, is_group)
            is_group = conversation.is_group if batch.is_group is None else batch.is_group
            growth = queries.ROW_BYTES
        display_name = batch.display_name or conversation.display_name
        if (display_name, is_group) != (conversation.display_name, conversation.is_group):
            await queries.name_conversation(db, account_id, conversation.id, display_name, is_group)
        added = await self._participants(db, account_id, conversation, batch, is_group=is_group)
        return _Outcome(
            conversation_id=conversation.id,
            is_direct_chat=conversation.is_direct_chat,
            growth=growth + added * queries.ROW_BYTES,
            ids={guid: new_id() for guid in batch.messages},
        )

    async def _participants(self, db: Db, account_id: UUID, conversation: LockedConversation, batch: Batch, *, is_group: bool) -> int:
        """Add who is new, and note who has left a group: of a chat with one person nobody leaves. Returns how many are new."""
        known = set(conversation.participants)
        strangers = [handle for handle in batch.participants if handle not in known]
        has_moved = is_group and bool(batch.listed) and (bool(strangers) or set(conversation.present) != known & set(batch.listed))
        if strangers or has_moved:
            await queries.share_contacts(db, account_id)
        if strangers:
            await queries.add_participants(db, account_id, conversation.id, strangers)
        if has_moved:
            await queries.move_participants(db, account_id, conversation.id, batch.listed)
        return len(strangers)

    async def _store(self, db: Db, account_id: UUID, batch: Batch, outcome: _Outcome) -> None:
        """Store the messages that are new, and bring in the copies of those that were known already."""
        created = await queries.insert_messages(db, account_id, outcome.conversation_id, outcome.ids, batch.messages)
        outcome.created = created
        outcome.growth += sum(queries.ROW_BYTES + batch.messages[guid].size for guid in created)
        copies = batch.messages.keys() - created
        known_messages = await queries.find_known(db, account_id, copies) if copies else {}
        if len(known_messages) < len(copies):  # another conversation that had one of them was deleted in this moment
            raise Unavailable("Some of these messages are being deleted with another conversation; send the batch again")
        for guid, known in known_messages.items():
            outcome.ids[guid] = known.id
            sent = batch.messages[guid]
            is_elsewhere = known.conversation_id != outcome.conversation_id
            if is_elsewhere:
                outcome.elsewhere[guid] = known.conversation_id
                sent = replace(sent, sent_at=known.content.sent_at)
            merged = merge(known.content, sent)
            if merged is known.content:
                continue
            outcome.changed[known.id] = merged
            growth = merged.size - known.content.size
            # What another conversation gives back stays counted there: it may not be locked, and a count that is too low could be used.
            outcome.growth += max(growth, 0) if is_elsewhere else growth
            if text_went(known.content, merged):
                outcome.without_text[known.conversation_id].append(known.id)
        if outcome.changed:
            await queries.update_messages(db, account_id, outcome.changed)

    async def _count(self, db: Db, account_id: UUID, batch: Batch, outcome: _Outcome) -> None:
        """Count what the batch changed, and see that the account stores no more than it may, if it stores more now."""
        created = outcome.created
        if created or outcome.changed or outcome.growth:
            await queries.count(db, account_id, outcome.conversation_id, messages=len(created), size=outcome.growth)
        if created and outcome.is_direct_chat:
            last = max((batch.messages[guid].sent_at, outcome.ids[guid]) for guid in created)
            await queries.count_in_chat(db, account_id, outcome.conversation_id, batch.imessage_id, messages=len(created), last=last)
        if created or outcome.growth > 0:
            await self._allowances.check_stored(db, account_id)

    def _announce(self, account_id: UUID, outcome: _Outcome, synced: SyncedMessages) -> None:
        """Tell what was committed."""
        if outcome.without_text:
            self._deletions.wake()
            for conversation_id in outcome.without_text:
                self._events.forget(account_id, conversation_id)
            for each in outcome.forgotten:
                self._events.publish(account_id, *each.events)
        if synced.created or synced.updated:
            counts = SyncCompleted(
                conversation_id=synced.conversation_id, created=synced.created, updated=synced.updated, unchanged=synced.unchanged
            )
            self._events.publish(account_id, PendingEvent("sync:completed", counts, about=synced.conversation_id))
