"""A plan that PostgreSQL keeps for any account must suit the one with a long history, too."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from gateway.conversations import queries
from gateway.sync import queries as sync_queries
from tests.fixtures.database import rows
from tests.fixtures.servers import Server

NAME = "crowded"
OWNER, THREAD = UUID(int=1), UUID(int=1)
LAST = UUID(int=40_000)
"""The newest message of the owner's, in the thread."""
ONE = f"{{{LAST}}}"
FORTY = "{" + ",".join(str(UUID(int=number)) for number in range(1000, 40_001, 1000)) + "}"
STATEMENTS: Mapping[str, tuple[str, Sequence[Any], int]] = {
    "the message to answer": (queries.ANSWERED, (OWNER, ONE), 1),
    "a draft's context": (queries.LINES_BEFORE, (OWNER, ONE, 20, 16000), 1),
    "many contexts": (queries.LINES_BEFORE, (OWNER, FORTY, 20, 4001), 40),
    "what follows": (queries.LINES_FROM, (OWNER, FORTY, 20, 4001), 40),
    "the first page": (queries.PAGE, (OWNER, THREAD, 50, 0, None, None), 1),
    "a page before": (queries.PAGE, (OWNER, THREAD, 50, 0, "2100-01-01", LAST), 1),
    "a page far back": (queries.PAGE, (OWNER, THREAD, 50, 0, datetime.now(UTC) - timedelta(minutes=50_001 - 1000), UUID(int=1000)), 1),
    "a thread to sync": (sync_queries.LOCK_CONVERSATION, (OWNER, "1"), 1),
    "the last message": (sync_queries.COUNT, (OWNER, THREAD, 1, 1), 1),
}
"""With their arguments, and how many messages each begins at."""


@pytest.fixture(scope="module")
def crowded(postgres: Server, migrated: str) -> Iterator[str]:
    """A database with a hundred accounts of one thread and 100 messages each, and one with 40,000 in twenty threads, lying as they came."""
    rows(postgres.url, f"create database {NAME} template {migrated}")
    url = postgres.url.replace("/assistant", f"/{NAME}")
    for statement in (
        "create function numbered(n bigint) returns uuid return lpad(to_hex(n), 32, '0')::uuid",
        "insert into account (id) select numbered(n) from generate_series(1, 101) n",
        """
        insert into conversation (id, account_id, imessage_id)
        select numbered(n), numbered(greatest(1, n - 19)), n from generate_series(1, 120) n
        """,
        """
        insert into message (id, account_id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at, search)
        select numbered(n), numbered(case when n > 40000 then 2 + n % 100 else 1 end),
               numbered(case when n > 40000 then 21 + n % 100 else 1 + n % 20 end), n, 'sam',
               case n / 20 % 2 when 0 then 'incoming' else 'outgoing' end, 'text', 'Message ' || n,
               now() - (50001 - n) * interval '1 minute', to_tsvector('simple', 'Message ' || n)
        from generate_series(1, 50000) n order by md5(n::text)
        """,
        "vacuum analyze",  # which brings what waits to be sorted into the search's index, too
    ):
        rows(url, statement)
    yield url
    rows(postgres.url, f"drop database {NAME}")


@pytest.mark.parametrize("name", STATEMENTS)
def test_only_what_is_near_is_read(crowded: str, name: str) -> None:
    statement, arguments, messages = STATEMENTS[name]

    read = asyncio.run(blocks(crowded, statement, arguments))

    assert read < 150 * messages


def test_a_search_of_a_rare_word_reads_few_messages(crowded: str) -> None:
    read = asyncio.run(blocks(crowded, queries.SEARCH, (OWNER, "'20000'", THREAD, 20, 0), queries.SEARCH_SETTINGS.replace("local", "")))

    assert read < 150


async def blocks(url: str, statement: str, arguments: Sequence[Any], settings: str = "set plan_cache_mode = force_generic_plan") -> int:
    """How many blocks are read, from memory or disk; by default with the plan for any arguments."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(settings)
        await connection.execute(f"prepare any_arguments as {statement}")
        given = ", ".join(quoted(argument) for argument in arguments)
        explained = await connection.fetchval(f"explain (analyze, buffers, format json) execute any_arguments ({given})")
    finally:
        await connection.close()
    plan = json.loads(explained)[0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def quoted(argument: Any) -> str:
    return "null" if argument is None else "'" + str(argument).replace("'", "''") + "'"
