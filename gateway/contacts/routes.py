from litestar import Controller, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from gateway.auth.authentication import Caller
from gateway.contacts.schemas import ContactBatch, SyncedContacts
from gateway.contacts.service import ContactService
from gateway.http.openapi import errors
from gateway.idempotency.middleware import IDEMPOTENT


class ContactController(Controller):
    path = "/api/sync/contacts"
    tags = ("sync",)

    @post("/", status_code=200, opt=IDEMPOTENT, summary="Store contacts", responses=errors(400, 401, 403, 409, 413, 422, 503))
    async def sync_contacts(
        self, principal: Caller, contacts: NamedDependency[ContactService], data: JSONBody[ContactBatch]
    ) -> SyncedContacts:
        """Up to 1,000 contacts, each with at least one of `appleId`, `phoneNumber`, `email`. A contact that shares any of them with a known
        one is that contact; one that shares them with two known ones makes these one, the older. What contacts with different names share
        is nobody's. What cannot be kept of a contact is left out, and `results` says what and why.
        """
        return await contacts.sync(principal.account_id, data)
