"""Nothing that is stored of an account is forgotten by its export: what is not in it has a reason."""

import asyncio
from typing import NamedTuple

import asyncpg
import pytest

from gateway.account.queries import EXPORTS, NOT_EXPORTED, export_statement
from tests.fixtures.database import rows

PICCOLOS_OWN = {"migration"}


class Exported(NamedTuple):
    """A column of a file: its name there and PostgreSQL's type."""

    name: str
    type: str


def exported_columns(database_url: str, kind: str) -> list[Exported]:
    async def ask() -> list[Exported]:
        connection = await asyncpg.connect(database_url)
        try:
            statement = await connection.prepare(await export_statement(connection, EXPORTS[kind]))  # type: ignore[arg-type]
            return [Exported(attribute.name, attribute.type.name) for attribute in statement.get_attributes()]
        finally:
            await connection.close()

    return asyncio.run(ask())


def stored_columns(database_url: str, table: str) -> set[str]:
    found = rows(
        database_url, "select column_name from information_schema.columns where table_schema = 'public' and table_name = $1", table
    )
    return {row["column_name"] for row in found}


def test_every_table_is_in_the_export_or_has_a_reason(database_url: str) -> None:
    tables = {row["tablename"] for row in rows(database_url, "select tablename from pg_tables where schemaname = 'public'")}

    assert tables - PICCOLOS_OWN == {export.table for export in EXPORTS.values()} | set(NOT_EXPORTED)


@pytest.mark.parametrize("kind", EXPORTS)
def test_every_column_is_in_the_export_or_has_a_reason(database_url: str, kind: str) -> None:
    export, stored = EXPORTS[kind], stored_columns(database_url, EXPORTS[kind].table)

    exported = [column.name for column in exported_columns(database_url, kind)]

    assert set(export.left_out) <= stored
    assert len(exported) == len(set(exported)) == len(stored) - len(export.left_out) + len(export.further)
    assert not {"account_id", "accountId"} & set(exported)


@pytest.mark.parametrize("kind", EXPORTS)
def test_no_digest_and_no_key_is_in_it(database_url: str, kind: str) -> None:
    assert [column for column in exported_columns(database_url, kind) if column.type == "bytea"] == []


def test_a_new_column_is_exported_by_itself(database_url: str) -> None:
    rows(database_url, "alter table contact add column shoe_size text")
    try:
        assert "shoeSize" in [column.name for column in exported_columns(database_url, "contacts")]
    finally:
        rows(database_url, "alter table contact drop column shoe_size")
