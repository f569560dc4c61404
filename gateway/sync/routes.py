from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody

from gateway.auth.authentication import Caller
from gateway.http.openapi import errors
from gateway.idempotency.middleware import IDEMPOTENT
from gateway.sync.schemas import MessageBatch, SyncedMessages, SyncState
from gateway.sync.service import SyncService


class SyncController(Controller):
    path = "/api/sync"
    tags = ("sync",)

    @post(
        "/messages",
        status_code=200,
        opt=IDEMPOTENT,
        summary="Store messages of a thread",
        responses=errors(400, 401, 403, 409, 413, 422, 503),
    )
    async def sync_messages(self, principal: Caller, sync: NamedDependency[SyncService], data: JSONBody[MessageBatch]) -> SyncedMessages:
        """Up to 1,000 messages. A message is known by its `imessageGuid`: sending it again, from any device, duplicates nothing; after an
        edit or a retraction it changes what is known. A retraction removes the text for good. One bad message refuses the whole batch and
        is named. A message that was first synced in another thread stays there, and its entry in the answer says so. After 503, or no
        answer, send the batch again. 413 also if the account would store more than it may.
        """
        return await sync.sync_messages(principal.account_id, data)

    @get("/state", summary="Where to resume", responses=errors(401, 403, 503))
    async def state(self, principal: Caller, sync: NamedDependency[SyncService]) -> SyncState:
        """What is known of each thread: how many messages, and the last."""
        return await sync.state(principal.account_id)
