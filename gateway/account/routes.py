from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.params import JSONBody

from gateway.account.download import Download
from gateway.account.schemas import Account, AccountDeletion
from gateway.account.service import AccountService
from gateway.auth.authentication import Caller, CallerToken
from gateway.http.openapi import errors

_EXPORT_HEADERS = {"Content-Disposition": 'attachment; filename="conversation-assistant-export.zip"', "Cache-Control": "no-store"}


class AccountController(Controller):
    path = "/api/account"
    tags = ("account",)

    @get("/", summary="Look at the account", responses=errors(401, 403, 503))
    async def read(self, principal: Caller, account: NamedDependency[AccountService]) -> Account:
        """Its id, which deleting it asks for, and how much is in it."""
        return await account.summary(principal.account_id)

    @get(
        "/export",
        summary="Take all data along",
        media_type="application/zip",
        response_description="A zip with an NDJSON file for each kind of data, from account and devices to training jobs and adapters",
        responses=errors(401, 403, 429, 503),
    )
    async def export(self, caller_token: CallerToken, account: NamedDependency[AccountService]) -> Download:
        """Streams at once and at any size; one at a time. A download that breaks off is not a readable zip: start it again. It breaks off
        when the device is deactivated.
        """
        return Download(account.export(caller_token), media_type="application/zip", headers=_EXPORT_HEADERS)

    @delete("/", summary="Delete the account and all of its data", responses=errors(400, 401, 403, 413, 503))
    async def delete(self, principal: Caller, account: NamedDependency[AccountService], data: JSONBody[AccountDeletion]) -> None:
        """Everything goes, at once and for good: devices, contacts, messages, drafts, samples, adapters. All tokens are void."""
        await account.delete(principal, data.confirm)
