"""One conversation with one person, however many chats there are with them.

A phone has a chat for each service and each handle: `iMessage;-;+14155550100`, `SMS;-;+14155550100`, `iMessage;-;john@example.com`. Here
they are identifiers of one conversation, as far as it is known that they are with one person: by the same handle, or by a contact, also one
that comes later. Then the conversations that there are become one. They are never taken apart again, and groups are never touched.
(docs/decisions/0023-one-conversation.md)
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol
from uuid import UUID

from gateway.database import Database, Db
from gateway.events.publisher import EventPublisher
from gateway.events.schemas import ConversationMerged
from gateway.limits.allowances import Allowances
from gateway.sync import direct_queries, queries


class FollowsConversations(Protocol):
    """Somebody who keeps what came from conversations."""

    async def conversation_merged(self, db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
        """Move what came from a conversation to the one that it becomes part of; called inside the transaction that does so, while both
        are locked.
        """
        ...


class _Merge(NamedTuple):
    gone: UUID
    into: UUID


class DirectChats:
    """Knows which chats are with the same person. Each call is a transaction of its own: lock the account's direct chats, then the
    conversations in the order of their ids, then the contacts.
    """

    def __init__(
        self, database: Database, events: EventPublisher, allowances: Allowances, followers: Sequence[FollowsConversations] = ()
    ) -> None:
        self._database = database
        self._events = events
        self._allowances = allowances
        self._followers = followers

    async def add(self, account_id: UUID, imessage_id: str, peer: str, display_name: str | None) -> None:
        """Make a chat identifier one of the conversation with `peer`, which is made if there is none.

        Raises:
            PayloadTooLarge: it would be more than the account may store.
        """
        async with self._database.transaction() as db:
            await direct_queries.lock(db, account_id)
            found = await direct_queries.find(db, account_id, imessage_id)
            if found["is_known"]:
                return
            own: UUID | None = found["conversation_id"]
            wanted = await direct_queries.with_peer(db, account_id, peer)
            there = await direct_queries.hold(db, account_id, wanted if own is None else wanted | {own})
            if own is not None:
                await direct_queries.add_known(db, account_id, imessage_id, peer, own)
            elif there:
                await direct_queries.add(db, account_id, imessage_id, peer, _largest(there))
            else:
                made = await queries.add_thread(db, account_id, imessage_id, display_name, is_group=False)
                await direct_queries.add(db, account_id, imessage_id, peer, made["id"])
                await queries.grow(db, account_id, made["id"], queries.ROW_BYTES)
                await self._allowances.check_stored(db, account_id)
            merges = [] if own is not None and own not in there else await self._merge(db, account_id, there)  # it was taken for a group
        self._tell(account_id, merges)

    async def join(self, account_id: UUID, contact_ids: Sequence[UUID]) -> None:
        """Make one conversation of all those with each of these contacts, one contact at a time."""
        while await self._join_one(account_id, contact_ids):
            pass

    async def _join_one(self, account_id: UUID, contact_ids: Sequence[UUID]) -> bool:
        """Whether there was anything to join."""
        async with self._database.transaction() as db:
            await direct_queries.lock(db, account_id)
            several = await direct_queries.with_a_contact(db, account_id, contact_ids)
            merges = await self._merge(db, account_id, await direct_queries.hold(db, account_id, several)) if several else []
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
            for follower in self._followers:
                await follower.conversation_merged(db, account_id, merge.gone, merge.into)
            await direct_queries.merge(db, account_id, merge.gone, merge.into)
        return merges

    def _tell(self, account_id: UUID, merges: Iterable[_Merge]) -> None:
        """Tell clients. What they were told of the conversation that is gone is taken back: a retraction would not find it any more."""
        for merge in merges:
            self._events.forget(account_id, merge.gone)
            event = ConversationMerged(conversation_id=merge.into, former_id=merge.gone)
            self._events.publish(account_id, "conversation:merged", event, about=merge.into)


def _largest(sizes: dict[UUID, int]) -> UUID:
    """The conversation with the most messages; of two such the older."""
    return min(sizes, key=lambda id_: (-sizes[id_], id_))
