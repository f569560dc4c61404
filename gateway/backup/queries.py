"""SQL of backups and restores: of all accounts, and of the schema itself."""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias
from uuid import UUID

from asyncpg import Connection, Record

from gateway.database import MIGRATION_LOCK

Db: TypeAlias = "Connection[Record]"
"""One connection that only this command uses."""
# A schema that only we use: what a restore replaces lies there until the restore has ended well.
ASIDE = "before_restore"
# Views are dumped, too, where somebody made some. What belongs to an extension is not ours.
RELATIONS = """
    select c.relname as name, c.relkind as kind from pg_class c
    where c.relnamespace = to_regnamespace($1) and c.relkind in ('r', 'p', 'v', 'm', 'f')
        and not exists (select from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
    order by c.relname
"""
SESSIONS = """
    select count(*) from pg_stat_activity
    where datname = current_database() and usename = current_user and pid <> pg_backend_pid()
"""
SCHEMA_VERSION = "select max(name) from migration where app_name = 'gateway'"
ADAPTERS = "select account_id, id from adapter order by account_id, id"
_KINDS = {"r": "table", "p": "table", "v": "view", "m": "materialized view", "f": "foreign table"}


class Relation(NamedTuple):
    name: str
    kind: str
    """PostgreSQL's letter (`relkind`): `r` is a table."""


async def begin_snapshot(db: Db) -> str:
    """Begin to see the database as it is now, until the session ends; what others need to see the same.

    Migrations wait meanwhile: one that waited for the dump instead would have every request wait behind itself.
    """
    await db.execute("select pg_advisory_lock_shared($1)", MIGRATION_LOCK)
    await db.execute("set idle_in_transaction_session_timeout = 0")
    await db.execute("set statement_timeout = 0")
    await db.execute("begin transaction isolation level repeatable read read only")
    return str(await db.fetchval("select pg_export_snapshot()"))


async def hold_migrations(db: Db) -> None:
    """Let nobody migrate until the session ends."""
    await db.execute("set statement_timeout = 0")
    await db.execute("select pg_advisory_lock($1)", MIGRATION_LOCK)


async def server_major(db: Db) -> int:
    return int(await db.fetchval("show server_version_num")) // 10_000


async def encoding(db: Db) -> str:
    return str(await db.fetchval("show server_encoding"))


async def other_sessions(db: Db) -> int:
    """How many others work on this database as the same role."""
    return int(await db.fetchval(SESSIONS))


async def relations(db: Db, schema: str = "public") -> list[Relation]:
    """Tables and views."""
    return [Relation(row["name"], row["kind"].decode()) for row in await db.fetch(RELATIONS, schema)]


async def schema_version(db: Db) -> str | None:
    """The newest migration; None where there was none."""
    if not await db.fetchval("select to_regclass('public.migration') is not null"):
        return None
    version = await db.fetchval(SCHEMA_VERSION)
    return None if version is None else str(version)


async def counts(db: Db) -> dict[str, int]:
    """How many rows each table has."""
    tables = [name for name, kind in await relations(db) if kind == "r"]
    return {name: await db.fetchval(f"select count(*) from public.{_quoted(name)}") for name in tables}


async def adapters(db: Db) -> list[tuple[UUID, UUID]]:
    """Of every account: its id and the adapter's."""
    return [(row["account_id"], row["id"]) for row in await db.fetch(ADAPTERS)]


async def is_put_aside(db: Db) -> bool:
    """Whether a restore that was killed left what it was to replace."""
    return bool(await db.fetchval("select to_regnamespace($1) is not null", ASIDE))


async def put_aside(db: Db) -> None:
    """Move all there is out of the way, in one transaction."""
    there = await relations(db)
    async with db.transaction():
        await db.execute(f"create schema {ASIDE}")
        await _move(db, there, "public", ASIDE)


async def put_back(db: Db) -> None:
    """Drop all there is, and move back what was put aside, in one transaction."""
    there, before = await relations(db), await relations(db, ASIDE)
    async with db.transaction():
        await _drop(db, there)
        await _move(db, before, ASIDE, "public")
        await db.execute(f"drop schema if exists {ASIDE}")


async def drop_aside(db: Db) -> None:
    """Drop what was put aside."""
    await db.execute(f"drop schema if exists {ASIDE} cascade")


async def analyze(db: Db) -> None:
    """Have plans made for what is there now: docs/decisions/0003-sql.md."""
    await db.execute("analyze")


async def _move(db: Db, there: Sequence[Relation], source: str, target: str) -> None:
    for name, kind in there:
        await db.execute(f"alter {_KINDS[kind]} {source}.{_quoted(name)} set schema {target}")


async def _drop(db: Db, there: Sequence[Relation]) -> None:
    for name, kind in there:
        await db.execute(f"drop {_KINDS[kind]} if exists public.{_quoted(name)} cascade")


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
