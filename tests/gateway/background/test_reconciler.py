"""The loop that looks at due rows, by itself, with orders of deletion in a database of its own."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from asyncpg import Record

from gateway.background.reconciler import MOST_ATTEMPTS, Reconciler
from gateway.database import Database
from gateway.deletions import queries
from gateway.deletions.service import Deletions, order_deletion
from gateway.ml_client import MlClient
from shared.contracts.service import ForgetRequest
from shared.errors import Unavailable
from shared.ids import new_id
from tests.fixtures.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio

DUE_NOW = "update deletion_order set look_at = now()"
IN_MORE_THAN_HALF_A_DAY = "select attempts from deletion_order where look_at > now() + interval '12 hours'"


class ForgetfulMl(MlClient):
    """Forgets what it is told to, once what makes that fail has been taken away."""

    def __init__(self, failure: Exception) -> None:
        self.failure: Exception | None = failure

    async def forget(self, wanted: ForgetRequest) -> bool:
        if self.failure is not None:
            raise self.failure
        return True


@pytest.fixture
async def database(own_database_url: str) -> AsyncIterator[Database]:
    """With one order in it, that is due."""
    database = Database(own_database_url)
    await database.open()
    await run(database, "delete from deletion_order")
    async with database.transaction() as db:
        await order_deletion(db, new_id(), everything=True)
    yield database
    await database.close()


async def run(database: Database, query: str) -> list[Record]:
    async with database.connection() as db:
        return list(await db.fetch(query))


async def attempted(database: Database, reconciler: Reconciler) -> None:
    """Have the order due, and wait until it was attempted."""
    await run(database, DUE_NOW)
    reconciler.wake()
    async with asyncio.timeout(PATIENCE_SECONDS):
        while await run(database, "select from deletion_order where look_at <= now()"):
            await asyncio.sleep(0.01)


async def test_what_was_given_up_is_tried_again_when_it_is_due(database: Database) -> None:
    ml = ForgetfulMl(RuntimeError("what nobody expected"))
    reconciler = Reconciler("deletions", database, queries.DUE, Deletions(database, ml))
    reconciler.start()
    try:
        for _ in range(MOST_ATTEMPTS):
            await attempted(database, reconciler)
        assert not await run(database, IN_MORE_THAN_HALF_A_DAY)
        await attempted(database, reconciler)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while [row["attempts"] for row in await run(database, IN_MORE_THAN_HALF_A_DAY)] != [0]:
                await asyncio.sleep(0.01)

        ml.failure = None
        await attempted(database, reconciler)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await run(database, "select from deletion_order"):
                await asyncio.sleep(0.01)
    finally:
        await reconciler.close()


async def test_an_attempt_while_something_is_away_does_not_count(database: Database) -> None:
    ml = ForgetfulMl(Unavailable("The ML service is away"))
    reconciler = Reconciler("deletions", database, queries.DUE, Deletions(database, ml))
    reconciler.start()
    try:
        await attempted(database, reconciler)
        async with asyncio.timeout(PATIENCE_SECONDS):
            while [row["attempts"] for row in await run(database, "select attempts from deletion_order")] != [0]:
                await asyncio.sleep(0.01)
    finally:
        await reconciler.close()
