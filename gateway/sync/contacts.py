from collections.abc import Sequence
from uuid import UUID

from gateway.database import Database, Db
from gateway.limits.allowances import Allowances
from gateway.sync import contact_queries as queries
from gateway.sync.direct_chats import DirectChats
from gateway.sync.matching import Card, KnownContact, Matching, all_spellings, cards
from gateway.sync.schemas import Contact, ContactBatch, ContactResult, SyncedContacts


class ContactSyncService:
    """Takes in the owner's address book. What cannot be kept of a card is left out and told; sending a batch again changes nothing."""

    def __init__(self, database: Database, chats: DirectChats, allowances: Allowances) -> None:
        self._database = database
        self._chats = chats
        self._allowances = allowances

    async def sync_contacts(self, account_id: UUID, batch: ContactBatch) -> SyncedContacts:
        """Store a batch, name the participants of conversations that its handles belong to, and make one of the conversations that turn
        out to be with one person.

        Raises:
            PayloadTooLarge: it would be more handles than the account may have; nothing of it is stored.
            Unavailable: the database went away. Send the batch again: whether it was stored makes no difference.
        """
        sent = cards(batch)
        usable = [card for card in sent if card.handles]
        async with self._database.transaction() as db:
            await queries.lock(db, account_id)
            matching = Matching(await queries.owners(db, account_id, all_spellings(usable)), usable)
            for card in usable:
                matching.take(card)
            if matching.new_handles:
                there = await queries.count_handles(db, account_id)
                if there + len(matching.new_handles) > self._allowances.contact_handles:
                    raise self._allowances.refusal("contact_handles")
            await _store(db, account_id, matching)
        # After the commit, since conversations are locked before contacts are. Of all contacts: the last time may have got no further.
        await self._chats.join(account_id, [contact.id for contact in matching.distinct()])
        return _answer(sent, matching)


async def _store(db: Db, account_id: UUID, matching: Matching) -> None:
    contacts = matching.distinct()
    added = [contact for contact in contacts if contact.is_new]
    changed = [contact for contact in contacts if contact.changed and not contact.is_new]
    older_of = {contact.id: contact.final.id for contact in matching.merged if not contact.is_new}
    if added:
        await queries.add(db, account_id, added)
    if changed:
        await queries.change(db, account_id, changed)
    if older_of:
        await queries.move_handles(db, account_id, older_of)
    if matching.new_handles:
        await queries.add_handles(db, account_id, [(handle, owner.final.id) for handle, owner in matching.new_handles])
    if older_of:
        await queries.remove(db, account_id, list(older_of))
    if matching.new_handles or older_of:
        await queries.link_participants(db, account_id, [handle for handle, _ in matching.new_handles], list(older_of.values()))


def _answer(sent: Sequence[Card], matching: Matching) -> SyncedContacts:
    contacts = matching.distinct()
    added = sum(contact.is_new for contact in contacts)
    changed = sum(contact.changed and not contact.is_new for contact in contacts)
    seen = [contact.final for contact in matching.seen]
    kept = iter(seen)
    return SyncedContacts(
        created=added,
        updated=changed,
        unchanged=len(contacts) - added - changed,
        contacts=[_contact(contact) for contact in seen],
        results=[ContactResult(id=next(kept).id if card.handles else None, left_out=card.left_out) for card in sent],
    )


def _contact(contact: KnownContact) -> Contact:
    return Contact(
        id=contact.id,
        apple_id=contact.apple_id,
        phone_number=contact.phone_number,
        email=contact.email,
        display_name=contact.display_name,
        avatar_hash=contact.avatar_hash,
    )
