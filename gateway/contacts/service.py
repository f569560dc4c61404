from uuid import UUID

from gateway.contacts import queries
from gateway.contacts.matching import Card, KnownContact, Matching, cards
from gateway.contacts.schemas import ContactBatch, ContactResult, SyncedContacts
from gateway.database import Database, Db
from gateway.limits.allowances import Allowances
from gateway.sync.direct_chats import DirectChats


class ContactService:
    """Takes in the owner's address book. What cannot be kept of a card is left out and told; sending a batch again changes nothing."""

    def __init__(self, database: Database, chats: DirectChats, allowances: Allowances) -> None:
        self._database = database
        self._chats = chats
        self._allowances = allowances

    async def sync(self, account_id: UUID, batch: ContactBatch) -> SyncedContacts:
        """Store a batch, name the participants of conversations that its handles belong to, and make one of the conversations that turn
        out to be with one person.

        Raises:
            PayloadTooLarge: it would be more handles than the account may have; nothing of it is stored.
            Unavailable: the database went away. Send the batch again: whether it was stored makes no difference.
        """
        sent = cards(batch)
        async with self._database.transaction() as db:
            await queries.lock(db, account_id)
            spellings = {spelling for card in sent for spelling in card.spellings}
            matching = Matching(await queries.owners(db, account_id, list(spellings)), sent)
            meant = [matching.take(card) if card.spellings else None for card in sent]
            contacts = list(dict.fromkeys(contact.final for contact in meant if contact is not None))
            added = [contact for contact in contacts if contact.is_new]
            changed = [contact for contact in contacts if contact.changed and not contact.is_new]
            await queries.store(db, account_id, [contact.details for contact in (*added, *changed)])
            await self._store_handles(db, account_id, matching)
        # After the commit, since conversations are locked before contacts are. Of all contacts: the last time may have got no further.
        await self._chats.join(account_id, [contact.id for contact in contacts])
        return SyncedContacts(
            created=len(added),
            updated=len(changed),
            unchanged=len(contacts) - len(added) - len(changed),
            contacts=[contact.final.details for contact in meant if contact is not None],
            results=[_result(card, contact) for card, contact in zip(sent, meant, strict=True)],
        )

    async def _store_handles(self, db: Db, account_id: UUID, matching: Matching) -> None:
        older_of = {contact.id: contact.final.id for contact in matching.merged if not contact.is_new}
        if not matching.new_handles and not older_of:
            return
        if await queries.count_handles(db, account_id) + len(matching.new_handles) > self._allowances["contact_handles"]:
            raise self._allowances.refusal("contact_handles")
        await queries.move_handles(db, account_id, older_of)
        await queries.add_handles(db, account_id, [(handle, owner.final.id) for handle, owner in matching.new_handles])
        await queries.remove(db, account_id, list(older_of))
        await queries.link_participants(db, account_id, [handle for handle, _ in matching.new_handles], list(older_of.values()))


def _result(card: Card, contact: KnownContact | None) -> ContactResult:
    return ContactResult(id=None if contact is None else contact.final.id, left_out=card.left_out)
