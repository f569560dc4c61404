"""Many requests at once are let in, or not, by one query; none waits for another's fate."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from deploy.local.postgres import EmbeddedPostgres
from gateway.auth import queries
from gateway.auth.principal import Principal
from gateway.auth.queries import Standing
from gateway.auth.standing import StandingReader
from gateway.database import Database, migrate
from gateway.errors import Unavailable
from shared.ids import new_id
from tests.factories import Device, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.servers import kill_with_sessions
from tests.fixtures.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio


@pytest.fixture
async def reader(database_url: str) -> AsyncIterator[StandingReader]:
    database = Database(database_url, pool_size=2)
    await database.open()
    yield StandingReader(database)
    await database.close()


@pytest.fixture
def owner(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


@pytest.fixture
def stranger(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def principal(device: Device, *, account: Device | None = None) -> Principal:
    return Principal(account_id=(account or device).account_id, device_id=device.device_id)


def seen_seconds_ago(database_url: str, device: Device) -> float:
    """When the device was seen last, by the database's clock."""
    age = rows(database_url, "select now() - last_seen_at as age from device where id = $1", device.device_id)[0]["age"]
    assert isinstance(age, timedelta)
    return age.total_seconds()


async def test_everybody_gets_the_own_answer(reader: StandingReader, owner: Device, stranger: Device, database_url: str) -> None:
    unknown = Principal(account_id=owner.account_id, device_id=new_id())
    await asyncio.to_thread(rows, database_url, "update device set status = 'inactive' where id = $1", stranger.device_id)
    asked = [principal(owner), principal(stranger), unknown, principal(owner, account=stranger)] * 25

    standings = await asyncio.gather(*map(reader.standing, asked))

    assert [standing and standing.status for standing in standings] == ["active", "inactive", None, None] * 25


async def test_an_answer_is_never_older_than_its_question(
    reader: StandingReader, owner: Device, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who asks while a query runs does not get that query's answer, which may be one from before."""
    has_read, may_go_on = asyncio.Event(), asyncio.Event()
    read = queries.standings

    async def held(*arguments: Any) -> list[Standing | None]:
        found = await read(*arguments)
        has_read.set()
        await may_go_on.wait()
        return found

    monkeypatch.setattr(queries, "standings", held)
    earlier = asyncio.create_task(reader.standing(principal(owner)))
    await has_read.wait()
    await asyncio.to_thread(rows, database_url, "update device set status = 'inactive' where id = $1", owner.device_id)
    later = asyncio.create_task(reader.standing(principal(owner)))
    await asyncio.sleep(0)
    may_go_on.set()

    assert [standing and standing.status for standing in (await earlier, await later)] == ["active", "inactive"]


async def test_whoever_leaves_takes_no_answer_away(reader: StandingReader, owner: Device) -> None:
    for leaving in range(4):
        questions = [asyncio.create_task(reader.standing(principal(owner))) for _ in range(4)]
        await asyncio.sleep(0)
        questions[leaving].cancel()
        for answer in await asyncio.gather(*questions[:leaving], *questions[leaving + 1 :]):
            assert answer is not None


async def test_a_device_that_somebody_is_changing_is_let_in_at_once(
    reader: StandingReader, owner: Device, stranger: Device, database_url: str
) -> None:
    """A transaction that holds one device must hold up nobody's requests: only the note when it was seen is left out."""
    long_ago = "update device set last_seen_at = now() - interval '1 hour' where id = any($1::uuid[])"
    ids: list[UUID] = [owner.device_id, stranger.device_id]
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(), asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute(long_ago, ids[1:])
            await asyncio.to_thread(rows, database_url, long_ago, ids[:1])
            for _ in range(2):
                both = await asyncio.gather(reader.standing(principal(owner)), reader.standing(principal(stranger)))
                assert [standing and standing.status for standing in both] == ["active", "active"]
            assert await asyncio.to_thread(seen_seconds_ago, database_url, owner) < 60
        await reader.standing(principal(stranger))
        assert await asyncio.to_thread(seen_seconds_ago, database_url, stranger) < 60
    finally:
        await connection.close()


async def test_a_query_that_hangs_holds_up_nobody_else_and_ends(
    reader: StandingReader, owner: Device, stranger: Device, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()
    read = queries.standings

    async def first_hangs(*arguments: Any) -> list[Standing | None]:
        if hangs.is_set():
            return await read(*arguments)
        hangs.set()
        return await asyncio.Future()

    monkeypatch.setattr(queries, "standings", first_hangs)
    hanging = asyncio.create_task(reader.standing(principal(owner)))
    await hangs.wait()

    standing = await reader.standing(principal(stranger))

    assert standing is not None
    assert not hanging.done()
    with pytest.raises(Unavailable):
        await hanging


async def test_a_table_that_somebody_has_locked_is_said_and_no_more_waited_for(
    reader: StandingReader, owner: Device, database_url: str
) -> None:
    """As a migration or a careless hand at the database may; afterwards all is well."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(), asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute("lock table device in access exclusive mode")
            answers = await asyncio.gather(*(reader.standing(principal(owner)) for _ in range(10)), return_exceptions=True)
            assert [type(answer) for answer in answers] == [Unavailable] * 10
        assert await reader.standing(principal(owner)) is not None
    finally:
        await connection.close()


async def test_a_time_that_cannot_be_noted_shuts_nobody_out(reader: StandingReader, owner: Device, database_url: str) -> None:
    await asyncio.to_thread(rows, database_url, "update device set last_seen_at = null where id = $1", owner.device_id)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(), asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute("lock table device in share mode")  # as `create index` does
            standing = await reader.standing(principal(owner))
    finally:
        await connection.close()

    assert standing is not None


async def test_all_hear_that_the_database_is_away_and_the_next_ones_that_it_is_back(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "postgres.log")
    server.start()
    await migrate(server.url)
    database = Database(server.url, pool_size=2)
    await database.open()
    try:
        reader = StandingReader(database)
        nobody = Principal(account_id=new_id(), device_id=new_id())
        assert await reader.standing(nobody) is None
        await asyncio.to_thread(kill_with_sessions, server)
        answers = await asyncio.gather(*(reader.standing(nobody) for _ in range(20)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [Unavailable] * 20
        server.start()
        assert await reader.standing(nobody) is None
    finally:
        await database.close()
        server.stop()
