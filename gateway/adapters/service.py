"""Personal adapters. Whoever changes which one is active, or how many there are, holds the account: so such changes take turns."""

from uuid import UUID

import structlog
from msgspec import structs

from gateway.adapters import queries
from gateway.adapters.activation import Verdict, judge

# Drafts, trainings, samples and metrics use these inside their own transactions.
from gateway.adapters.queries import active_adapter as active_adapter
from gateway.adapters.queries import count_active as count_active
from gateway.adapters.queries import hold_account as hold_account
from gateway.adapters.queries import mark_stale as mark_stale
from gateway.adapters.schemas import Adapter, AdapterState, TrainedAdapter
from gateway.database import Database, Db
from gateway.deletions.service import order_deletion
from gateway.ml_client import MlClient
from shared.errors import Conflict, NotFound, Unavailable

_UNKNOWN = "There is no adapter with this id"

_logger = structlog.get_logger(__name__)


class AdapterService:
    """The personal adapters of an account, and which of them drafts are written with."""

    def __init__(self, database: Database, ml: MlClient) -> None:
        self._database = database
        self._ml = ml

    async def list(self, account_id: UUID) -> list[Adapter]:
        """Newest first."""
        async with self._database.connection() as db:
            adapters = await queries.list_all(db, account_id)
        states = await self._states(account_id) if adapters else None
        return [_with_status(adapter, states) for adapter in adapters]

    async def activate(self, account_id: UUID, adapter_id: UUID) -> Adapter:
        """Write drafts with this adapter from now on, whatever its figures say. One that is active stays so.

        Raises:
            NotFound: no such adapter, or another account's.
            Conflict: its files are gone.
        """
        states = await self._states(account_id)
        async with self._database.transaction() as db:
            await hold_account(db, account_id)
            await queries.deactivate(db, account_id)
            activated = await queries.activate(db, account_id, adapter_id)
            if activated is None:
                raise NotFound(_UNKNOWN)
            adapter = _with_status(activated, states)
            if adapter.status == "missing":
                raise Conflict("The files of this adapter are gone; delete it and train a new one")
        _logger.info("adapter activated", adapter_id=str(adapter_id))
        return adapter

    async def deactivate(self, account_id: UUID) -> Adapter | None:
        """Write drafts with the base model from now on; the adapter that was active until then."""
        async with self._database.transaction() as db:
            await hold_account(db, account_id)
            adapter = await queries.deactivate(db, account_id)
        if adapter is None:
            return None
        _logger.info("adapter deactivated", adapter_id=str(adapter.id))
        return _with_status(adapter, await self._states(account_id))

    async def delete(self, account_id: UUID, adapter_id: UUID) -> None:
        """Remove an adapter, also the active one: drafts are then written with the base model. Its files go when the ML service can be
        reached.

        Raises:
            NotFound: no such adapter, or another account's.
        """
        async with self._database.transaction() as db:
            await hold_account(db, account_id)
            if not await queries.delete(db, account_id, adapter_id):
                raise NotFound(_UNKNOWN)
            await order_deletion(db, account_id, adapter_ids=[adapter_id])

    async def _states(self, account_id: UUID) -> dict[str, AdapterState] | None:
        """Those that the ML service has; None while it is away."""
        try:
            return {adapter.adapter_id: adapter.status for adapter in await self._ml.adapters(account_id)}
        except Unavailable:
            return None


async def add_trained(db: Db, account_id: UUID, new: TrainedAdapter) -> Verdict:
    """Store an adapter, and let it come into use if it is better than what is; the caller holds the account."""
    active = await active_adapter(db, account_id)
    verdict = judge(new, active.id if active is not None else None)
    if verdict.activate:
        await queries.deactivate(db, account_id)
    await queries.add(db, account_id, new, active=verdict.activate)
    return verdict


def _with_status(adapter: Adapter, states: dict[str, AdapterState] | None) -> Adapter:
    return structs.replace(adapter, status="unknown" if states is None else states.get(str(adapter.id), "missing"))
