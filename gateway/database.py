"""PostgreSQL: one pool for the process, transactions for the services, and the migrations.

Piccolo describes the tables and keeps their history; queries are SQL on the pool's own connections (docs/decisions/0003-sql.md).
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import asyncpg
import msgspec
import structlog
from asyncpg import Connection, Pool, Record
from asyncpg.pool import PoolConnectionProxy

from shared.errors import Conflict, Unavailable

Db: TypeAlias = "PoolConnectionProxy[Record]"
"""What a query runs on: a connection of the pool, inside a transaction or not."""

# Any number that only we use: who holds it is the one that migrates.
MIGRATION_LOCK = 7_300_2100
_FIRST_MIGRATION = "2026-11-26T18:00:00:000000"
_LONGEST_WAIT_SECONDS = 10
HEAVY_CONNECTIONS = 4
"""For reads that may take seconds or wait for a slow client: searches and exports. Nothing else waits for one of these."""
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # the connection broke while a statement was being sent
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.TooManyConnectionsError,
)
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class PoolUse:
    """Connections of the pool: handed out, open but idle, and how many there may be."""

    used: int
    idle: int
    limit: int


class Database:
    """The pool and the two ways to use it: `transaction()` for whatever writes, `connection()` for single reads.

    Heavy reads have a small pool of their own, `heavy_transaction()`, so that authentication and everything else never wait behind them.
    """

    def __init__(self, url: str, pool_size: int = 10) -> None:
        self._url = url
        self._pool_size = pool_size
        self._pool: Pool[Record] | None = None
        self._heavy_pool: Pool[Record] | None = None
        self._heavy_reads = asyncio.Semaphore(HEAVY_CONNECTIONS)
        self._away = False

    async def open(self) -> None:
        """Connect; waits up to 30 s for a server that is still starting.

        Raises:
            Unavailable: no server answered.
        """
        for attempt in range(30):
            try:
                self._pool = await self._open_pool(min_size=1, max_size=self._pool_size)
                self._heavy_pool = await self._open_pool(min_size=0, max_size=HEAVY_CONNECTIONS)
                return
            except (OSError, asyncpg.PostgresConnectionError, asyncpg.exceptions.CannotConnectNowError) as error:
                if attempt == 29:
                    raise Unavailable("PostgreSQL does not answer at DATABASE_URL") from error
                await asyncio.sleep(1)

    async def close(self) -> None:
        for pool in (self._heavy_pool, self._pool):
            if pool is not None:
                try:
                    await asyncio.wait_for(pool.close(), timeout=5)
                except TimeoutError:
                    pool.terminate()

    def pool_use(self) -> PoolUse:
        if self._pool is None:
            return PoolUse(used=0, idle=0, limit=self._pool_size)
        idle = self._pool.get_idle_size()
        return PoolUse(used=self._pool.get_size() - idle, idle=idle, limit=self._pool_size)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Db]:
        """A connection for reads, and for single statements that are a transaction of their own.

        Raises:
            Unavailable: PostgreSQL is away; it is tried anew at the next call.
            Unavailable: a statement and another transaction waited for each other, and this one gave way.
            Unavailable: a statement took too long, or the server takes no writes: there is another primary now, and it is looked for.
            Conflict: something that a statement refers to was deleted while it ran, such as the whole account.
        """
        async with self._acquired(self._pool) as connection:
            yield connection

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Db]:
        """A connection inside a transaction that commits when the block ends and rolls back when it raises.

        Raises:
            As `connection`. Nothing of the block is stored then, unless PostgreSQL went away while answering the COMMIT.
        """
        async with self.connection() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def heavy_transaction(self) -> AsyncIterator[Db]:
        """A transaction for reads that may take long, on one of the few connections for these.

        Raises:
            As `connection`; and Unavailable: all of these connections stay taken, or a statement took longer than the block allows
            (`set local statement_timeout`).
        """
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                await self._heavy_reads.acquire()
        except TimeoutError as error:
            raise Unavailable("Other searches and exports are running; try again in a moment", retry_after=10) from error
        try:
            async with self._acquired(self._heavy_pool) as connection:
                try:
                    async with connection.transaction():
                        yield connection
                except asyncpg.QueryCanceledError as error:
                    raise Unavailable("That took too long; narrow it down, or try again later") from error
        finally:
            self._heavy_reads.release()

    async def _open_pool(self, *, min_size: int, max_size: int) -> Pool[Record]:
        return await asyncpg.create_pool(
            self._url, min_size=min_size, max_size=max_size, init=_prepare_connection, reset=_keep_as_it_is, command_timeout=60
        )

    @asynccontextmanager
    async def _acquired(self, pool: Pool[Record] | None) -> AsyncIterator[Db]:
        """A connection of a pool, with PostgreSQL's errors as ours."""
        if pool is None or pool.is_closing():
            raise Unavailable("The database is not open")
        try:
            async with pool.acquire(timeout=_LONGEST_WAIT_SECONDS) as connection:
                try:
                    yield connection
                except asyncpg.InterfaceError as error:  # the driver's word for every wrong use of it, of a closed connection, too
                    if not _is_gone(connection):
                        raise
                    raise asyncpg.ConnectionDoesNotExistError("it was closed") from error
            self._noticed(None)
        except _AWAY as error:
            self._noticed(error)
            raise Unavailable("The database is away; try again in a moment") from error
        except asyncpg.ReadOnlySQLTransactionError as error:
            self._noticed(error)
            await pool.expire_connections()
            raise Unavailable("The database is away; try again in a moment") from error
        except asyncpg.QueryCanceledError as error:
            raise Unavailable("The database took too long; try again in a moment") from error
        except asyncpg.exceptions.TransactionRollbackError as error:  # a deadlock: the other transaction goes on, this one left nothing
            raise Unavailable("Another request changed the same things; try again in a moment", retry_after=1) from error
        except asyncpg.ForeignKeyViolationError as error:
            raise Conflict("Something that this request refers to was deleted meanwhile; look again and retry") from error

    def _noticed(self, error: Exception | None) -> None:
        """One line for each outage, with what began it, and one when it is over."""
        if error is not None and not self._away:
            _logger.warning("the database is away", cause=type(error).__name__)
        elif error is None and self._away:
            _logger.info("the database is back")
        self._away = error is not None


def _is_gone(connection: Db) -> bool:
    try:
        return connection.is_closed()
    except asyncpg.InterfaceError:  # the pool took it back under our hands, as it does with one that was closed
        return True


async def _prepare_connection(connection: Connection[Record]) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_encode_json, decoder=msgspec.json.decode)


async def _keep_as_it_is(_: Connection[Record]) -> None:
    """Spare the round trip that resets a session when it returns to the pool: nothing here outlives its transaction (locks are taken with
    `pg_advisory_xact_lock`, settings with `set local`), and an open transaction asyncpg rolls back all the same.
    """


def _encode_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


async def migrate(url: str) -> str:
    """Bring the schema up to date; several processes may call this at once, one of them does it.

    Returns:
        What Piccolo printed.

    Raises:
        RuntimeError: the database cannot hold every text, is from before the first release, or a migration failed; with Piccolo's output.
    """
    lock = await asyncpg.connect(url)
    try:
        encoding = await lock.fetchval("show server_encoding")
        if encoding != "UTF8":
            raise RuntimeError(
                f"The database is encoded in {encoding}: make one with `create database … encoding 'UTF8' template template0`"
            )
        await lock.execute("select pg_advisory_lock($1)", MIGRATION_LOCK)
        if await _is_older_than_the_first_release(lock):
            raise RuntimeError(
                "This database was made before the first release, and has tables of another form: begin with an empty one (of `make run`:"
                " move .data/postgres away) and have clients sync anew, or export what it has with the version that made it"
            )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "piccolo.main", "migrations", "forwards", "gateway",
            env={**os.environ, "PICCOLO_CONF": "gateway.piccolo_conf", "DATABASE_URL": url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output = (await process.communicate())[0].decode()
        if process.returncode != 0:
            raise RuntimeError(f"The migrations failed:\n{output}")
        return output
    finally:
        await lock.close()


async def _is_older_than_the_first_release(connection: Connection[Record]) -> bool:
    if not await connection.fetchval("select to_regclass('migration') is not null"):
        return False
    older = "select exists (select from migration where app_name = 'gateway' and name < $1)"
    return bool(await connection.fetchval(older, _FIRST_MIGRATION))
