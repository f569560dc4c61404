from uuid import UUID

import structlog
from asyncpg import Record

from gateway.adapters import queries
from gateway.adapters.schemas import Adapter, AdapterState
from gateway.database import Database
from gateway.deletions.service import order_deletion
from gateway.errors import Conflict, NotFound, Unavailable
from gateway.ml_client import MlClient

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
            rows = await queries.all_of(db, account_id)
        states = await self._states(account_id) if rows else None
        return [_adapter(row, states) for row in rows]

    async def activate(self, account_id: UUID, adapter_id: UUID) -> Adapter:
        """Write drafts with this adapter from now on, whatever its figures say. One that is active stays so.

        Raises:
            NotFound: no such adapter, or another account's.
            Conflict: its files are gone.
        """
        states = await self._states(account_id)
        async with self._database.transaction() as db:
            await queries.hold_account(db, account_id)
            row = await queries.find(db, account_id, adapter_id)
            if row is None:
                raise NotFound(_UNKNOWN)
            if _adapter(row, states).status == "missing":
                raise Conflict("The files of this adapter are gone; delete it and train a new one")
            await queries.deactivate(db, account_id)
            row = await queries.activate(db, account_id, adapter_id)
        assert row is not None
        _logger.info("adapter activated", adapter_id=str(adapter_id))
        return _adapter(row, states)

    async def deactivate(self, account_id: UUID) -> Adapter | None:
        """Write drafts with the base model from now on; the adapter that was active until then."""
        async with self._database.transaction() as db:
            await queries.hold_account(db, account_id)
            row = await queries.deactivate(db, account_id)
        if row is None:
            return None
        _logger.info("adapter deactivated", adapter_id=str(row["id"]))
        return _adapter(row, await self._states(account_id))

    async def delete(self, account_id: UUID, adapter_id: UUID) -> None:
        """Remove an adapter, also the active one: drafts are then written with the base model. Its files go when the ML service can be
        reached.

        Raises:
            NotFound: no such adapter, or another account's.
        """
        async with self._database.transaction() as db:
            await queries.hold_account(db, account_id)
            if not await queries.delete(db, account_id, adapter_id):
                raise NotFound(_UNKNOWN)
            await order_deletion(db, account_id, adapter_ids=[adapter_id])

    async def _states(self, account_id: UUID) -> dict[str, AdapterState] | None:
        """Those that the ML service has; None while it is away."""
        try:
            return {adapter.adapter_id: adapter.status for adapter in await self._ml.adapters(account_id)}
        except Unavailable:
            return None


def _adapter(row: Record, states: dict[str, AdapterState] | None) -> Adapter:
    status: AdapterState = "unknown" if states is None else states.get(str(row["id"]), "missing")
    return Adapter(**row, status=status)
