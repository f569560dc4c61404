"""One conversation with one person, however many chats there are with them.

A phone has a chat for each service and each handle: `iMessage;-;+14155550100`, `SMS;-;+14155550100`, `iMessage;-;john@example.com`. Here
they are identifiers of one conversation, as far as it is known that they are with one person: by the same handle, or by a contact, also one
that comes later. Then the conversations that there are become one. They are never taken apart again, and groups are never touched.
(docs/decisions/0023-one-conversation.md)
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from gateway.database import Database, Db
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.schemas import ConversationMerged
from gateway.limits.allowances import Allowances
from gateway.sync import queries
from gateway.sync.forgetting import MadeFromMessages


class _Merge(NamedTuple):
    gone: UUID
    into: UUID


class DirectChats:
    """Knows which chats are with the same person. Each call is a transaction of its own: lock the account's direct chats, then the
    conversations in the order of their ids, then the contacts.
    """

    def __init__(self, database: Database, events: EventPublisher, allowances: Allowances, made_from_messages: MadeFromMessages) -> None:
        self._database = database
        self._events = events
        self._allowances = allowances
        self._made_from_messages = made_from_messages

    async def add(self, account_id: UUID, imessage_id: str, peer: str, display_name: str | None) -> None:
        """Make a chat identifier one of the conversation with `peer`, which is made if there is none.

        Raises:
            PayloadTooLarge: it would be more than the account may store.
        """
        async with self._database.transaction() as db:
            await queries.lock_direct_chats(db, account_id)
            chat = await queries.find_chat(db, account_id, imessage_id)
            if chat.is_known:
                return
            if chat.conversation_id is not None:  # it was taken for a group so far
                await queries.add_known_chat(db, account_id, imessage_id, peer, chat.conversation_id)
                return
            there = await queries.hold_direct(db, account_id, await queries.conversations_with_peer(db, account_id, peer))
            if there:
                await queries.add_chat(db, account_id, imessage_id, peer, _largest(there))
            else:
                await self._add_conversation(db, account_id, imessage_id, peer, display_name)
            merges = await self._merge(db, account_id, there)
        self._tell(account_id, merges)

    async def _add_conversation(self, db: Db, account_id: UUID, imessage_id: str, peer: str, display_name: str | None) -> None:
        made = await queries.add_conversation(db, account_id, imessage_id, display_name, is_group=False)
        await queries.add_chat(db, account_id, imessage_id, peer, made.id)
        await queries.count(db, account_id, made.id, size=queries.ROW_BYTES)
        await self._allowances.check_stored(db, account_id)

    async def join(self, account_id: UUID, contact_ids: Sequence[UUID]) -> None:
        """Make one conversation of all those with each of these contacts, one contact at a time."""
        while await self._join_one(account_id, contact_ids):
            pass

    async def _join_one(self, account_id: UUID, contact_ids: Sequence[UUID]) -> bool:
        """Whether there was anything to join."""
        async with self._database.transaction() as db:
            await queries.lock_direct_chats(db, account_id)
            several = await queries.conversations_with_a_contact(db, account_id, contact_ids)
            merges = await self._merge(db, account_id, await queries.hold_direct(db, account_id, several)) if several else []
        self._tell(account_id, merges)
        return bool(several)

    async def _merge(self, db: Db, account_id: UUID, sizes: dict[UUID, int]) -> list[_Merge]:
        """Make one of conversations, which are held: the largest, since every message that moves is written anew."""
        if len(sizes) < 2:
            return []
        into = _largest(sizes)
        await queries.share_contacts(db, account_id)
        merges = [_Merge(gone, into) for gone in sorted(sizes) if gone != into]
        for merge in merges:
            await self._made_from_messages.conversation_merged(db, account_id, merge.gone, merge.into)
            await queries.merge(db, account_id, merge.gone, merge.into)
        return merges

    def _tell(self, account_id: UUID, merges: Iterable[_Merge]) -> None:
        """Tell clients. What they were told of the conversation that is gone is taken back: a retraction would not find it any more."""
        for merge in merges:
            self._events.forget(account_id, merge.gone)
            event = ConversationMerged(conversation_id=merge.into, former_id=merge.gone)
            self._events.publish(account_id, PendingEvent("conversation:merged", event, about=merge.into))


def _largest(sizes: dict[UUID, int]) -> UUID:
    """The conversation with the most messages; of two such the older."""
    return min(sizes, key=lambda id_: (-sizes[id_], id_))
