"""Every request asks the database how its device stands; none waits long for that, or for another's fate."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from deploy.local.servers import EmbeddedPostgres
from gateway.auth import queries
from gateway.auth.authentication import Authenticator
from gateway.auth.principal import Principal
from gateway.auth.queries import DeviceState
from gateway.auth.tokens import DeviceTokens, KeyRing
from gateway.database import Database, migrate
from gateway.wire import utc_now
from shared.errors import AppError, Forbidden, Unauthorized, Unavailable
from shared.ids import new_id
from tests.factories import Device, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import JWT_KEYS, GatewayProcess
from tests.fixtures.servers import kill_with_sessions
from tests.fixtures.waiting import PATIENCE_SECONDS

pytestmark = pytest.mark.anyio


TOKENS = DeviceTokens(KeyRing([JWT_KEYS]))


@pytest.fixture
async def authenticator(database_url: str) -> AsyncIterator[Authenticator]:
    database = Database(database_url, pool_size=2)
    await database.open()
    yield Authenticator(TOKENS, database)
    await database.close()


@pytest.fixture
def owner(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


@pytest.fixture
def stranger(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


async def admitted(authenticator: Authenticator, device: Device, *, account: Device | None = None) -> type[AppError] | None:
    """None if the device's token is taken, else the kind of error; `account`: the token says another account's."""
    principal = Principal(account_id=(account or device).account_id, device_id=device.device_id)
    return await refusal(authenticator, principal)


async def refusal(authenticator: Authenticator, principal: Principal) -> type[AppError] | None:
    try:
        await authenticator.authenticate(TOKENS.issue(principal, utc_now()).token)
    except AppError as error:
        return type(error)
    return None


def seen_seconds_ago(database_url: str, device: Device) -> float:
    """When the device was seen last, by the database's clock."""
    age = rows(database_url, "select now() - last_seen_at as age from device where id = $1", device.device_id)[0]["age"]
    assert isinstance(age, timedelta)
    return age.total_seconds()


async def test_everybody_gets_the_own_answer(authenticator: Authenticator, owner: Device, stranger: Device, database_url: str) -> None:
    unknown = Principal(account_id=owner.account_id, device_id=new_id())
    await asyncio.to_thread(rows, database_url, "update device set status = 'deactivated' where id = $1", stranger.device_id)

    answers = await asyncio.gather(
        *(
            answer
            for _ in range(25)
            for answer in (
                admitted(authenticator, owner),
                admitted(authenticator, stranger),
                refusal(authenticator, unknown),
                admitted(authenticator, owner, account=stranger),
            )
        )
    )

    assert answers == [None, Forbidden, Unauthorized, Unauthorized] * 25


async def test_a_device_that_somebody_is_changing_is_let_in_at_once(
    authenticator: Authenticator, owner: Device, stranger: Device, database_url: str
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
                assert [*await asyncio.gather(admitted(authenticator, owner), admitted(authenticator, stranger))] == [None, None]
            assert await asyncio.to_thread(seen_seconds_ago, database_url, owner) < 60
        await admitted(authenticator, stranger)
        assert await asyncio.to_thread(seen_seconds_ago, database_url, stranger) < 60
    finally:
        await connection.close()


async def test_a_query_that_hangs_holds_up_nobody_else_and_ends(
    authenticator: Authenticator, owner: Device, stranger: Device, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = asyncio.Event()
    read = queries.device_states

    async def first_hangs(*arguments: Any) -> list[DeviceState | None]:
        if hangs.is_set():
            return await read(*arguments)
        hangs.set()
        return await asyncio.Future()

    monkeypatch.setattr(queries, "device_states", first_hangs)
    hanging = asyncio.create_task(admitted(authenticator, owner))
    await hangs.wait()

    assert await admitted(authenticator, stranger) is None
    assert not hanging.done()
    assert await hanging is Unavailable


async def test_a_table_that_somebody_has_locked_is_said_and_no_more_waited_for(
    authenticator: Authenticator, owner: Device, database_url: str
) -> None:
    """As a migration or a careless hand at the database may; afterwards all is well."""
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(), asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute("lock table device in access exclusive mode")
            answers = await asyncio.gather(*(admitted(authenticator, owner) for _ in range(10)))
            assert answers == [Unavailable] * 10
        assert await admitted(authenticator, owner) is None
    finally:
        await connection.close()


async def test_a_time_that_cannot_be_noted_shuts_nobody_out(authenticator: Authenticator, owner: Device, database_url: str) -> None:
    await asyncio.to_thread(rows, database_url, "update device set last_seen_at = null where id = $1", owner.device_id)
    connection = await asyncpg.connect(database_url)
    try:
        async with connection.transaction(), asyncio.timeout(PATIENCE_SECONDS):
            await connection.execute("lock table device in share mode")  # as `create index` does
            assert await admitted(authenticator, owner) is None
    finally:
        await connection.close()


async def test_all_hear_that_the_database_is_away_and_the_next_ones_that_it_is_back(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "postgres.log")
    server.start()
    await migrate(server.url)
    database = Database(server.url, pool_size=2)
    await database.open()
    try:
        authenticator = Authenticator(TOKENS, database)
        nobody = Principal(account_id=new_id(), device_id=new_id())
        assert await refusal(authenticator, nobody) is Unauthorized
        await asyncio.to_thread(kill_with_sessions, server)
        assert await asyncio.gather(*(refusal(authenticator, nobody) for _ in range(20))) == [Unavailable] * 20
        server.start()
        assert await refusal(authenticator, nobody) is Unauthorized
    finally:
        await database.close()
        server.stop()
