from uuid import UUID

from gateway.database import Database
from gateway.limits.allowances import Allowances
from gateway.sync import contact_queries as queries
from gateway.sync.matching import KnownContact, Matching, all_handles, cards
from gateway.sync.schemas import Contact, ContactBatch, SyncedContacts


class ContactSyncService:
    """Takes in the owner's address book. A batch is stored as a whole or not at all, and sending it again changes nothing."""

    def __init__(self, database: Database, allowances: Allowances) -> None:
        self._database = database
        self._allowances = allowances

    async def sync_contacts(self, account_id: UUID, batch: ContactBatch) -> SyncedContacts:
        """Store a batch, and name the participants of conversations that its handles belong to.

        Raises:
            BadRequest: a card without a handle, or with a number that cannot be read; nothing of the batch is stored.
            PayloadTooLarge: it would be more handles than the account may have; nothing of it is stored.
        """
        sent = cards(batch)
        async with self._database.transaction() as db:
            await queries.lock(db, account_id)
            matching = Matching(await queries.owners(db, account_id, all_handles(sent)))
            for card in sent:
                matching.take(card)
            contacts = matching.distinct()
            added = [contact for contact in contacts if contact.is_new]
            changed = [contact for contact in contacts if contact.changed and not contact.is_new]
            older_of = {contact.id: contact.final.id for contact in matching.merged if not contact.is_new}
            if added:
                await queries.add(db, account_id, added)
            if changed:
                await queries.change(db, account_id, changed)
            if older_of:
                await queries.merge(db, account_id, older_of)
            if matching.new_handles:
                if await queries.count_handles(db, account_id) + len(matching.new_handles) > self._allowances.contact_handles:
                    raise self._allowances.too_many_handles()
                await queries.add_handles(db, account_id, {handle: owner.final.id for handle, owner in matching.new_handles.items()})
                await queries.link_participants(db, account_id, list(matching.new_handles))
        return SyncedContacts(
            created=len(added),
            updated=len(changed),
            unchanged=len(contacts) - len(added) - len(changed),
            contacts=[_answer(contact.final) for contact in matching.seen],
        )


def _answer(contact: KnownContact) -> Contact:
    return Contact(
        id=contact.id,
        apple_id=contact.apple_id,
        phone_number=contact.phone_number,
        email=contact.email,
        display_name=contact.display_name,
        avatar_hash=contact.avatar_hash,
    )
