"""What of a database's errors means that it is away, and what is a fault of ours."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import structlog
from structlog.testing import LogCapture

from deploy.local.servers import EmbeddedPostgres
from gateway.database import Database
from shared.errors import Unavailable
from tests.fixtures.servers import kill_with_sessions

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    opened = Database(database_url, pool_size=2)
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    capture = LogCapture()
    monkeypatch.setattr("gateway.database._logger", structlog.wrap_logger(None, processors=[capture]))
    return capture


@pytest.fixture(scope="module")
def fragile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    folder: Path = tmp_path_factory.mktemp("fragile")
    server = EmbeddedPostgres(folder / "postgres", folder / "postgres.log")
    server.start()
    yield server
    server.stop()


async def run(database: Database, statement: str, *arguments: object, first: str = "select 1") -> object:
    async with database.transaction() as db:
        await db.execute(first)
        return await db.fetchval(statement, *arguments)


async def use_closed(database: Database) -> None:
    async with database.connection() as db:
        await db.close()
        await db.fetchval("select 1")


async def use_ended(database: Database, database_url: str) -> None:
    async with database.transaction() as db:
        pid = await db.fetchval("select pg_backend_pid()")
        other = await asyncpg.connect(database_url)
        await other.execute("select pg_terminate_backend($1)", pid)
        await other.close()
        await db.fetchval("select 1")


async def test_a_value_of_the_wrong_type_is_our_fault_and_no_outage(database: Database, log: LogCapture) -> None:
    with pytest.raises(asyncpg.DataError):
        await run(database, "select $1::int", "no number")

    assert log.entries == []


async def test_a_statement_without_its_argument_is_our_fault(database: Database) -> None:
    with pytest.raises(asyncpg.InterfaceError):
        await run(database, "select $1::int")


async def test_a_connection_that_was_closed_under_a_request_is_an_outage(database: Database) -> None:
    with pytest.raises(Unavailable):
        await use_closed(database)

    assert await run(database, "select 1") == 1


async def test_a_session_that_was_ended_is_an_outage(database: Database, database_url: str) -> None:
    with pytest.raises(Unavailable):
        await use_ended(database, database_url)

    assert await run(database, "select 1") == 1


async def test_a_statement_that_was_cancelled_may_be_asked_again(database: Database) -> None:
    with pytest.raises(Unavailable, match="took too long"):
        await run(database, "select pg_sleep(30)", first="set local statement_timeout = 20")


async def test_a_primary_that_became_a_replica_is_left_for_the_new_one(database: Database, log: LogCapture) -> None:
    before = await run(database, "select pg_backend_pid()")
    with pytest.raises(Unavailable):
        await run(database, "create table never (id int)", first="set transaction read only")

    assert await run(database, "select pg_backend_pid()") != before
    assert [(entry["event"], entry.get("cause")) for entry in log.entries] == [
        ("the database is away", "ReadOnlySQLTransactionError"),
        ("the database is back", None),
    ]


async def test_an_outage_is_one_line_with_its_cause_and_one_when_it_is_over(fragile: EmbeddedPostgres, log: LogCapture) -> None:
    database = Database(fragile.url, pool_size=1)
    await database.open()
    try:
        await asyncio.to_thread(kill_with_sessions, fragile)
        for _ in range(3):
            with pytest.raises(Unavailable):
                await run(database, "select 1")
        fragile.start()
        await run(database, "select 1")
    finally:
        await database.close()

    assert [entry["event"] for entry in log.entries] == ["the database is away", "the database is back"]
    assert str(log.entries[0]["cause"]).endswith("Error")
