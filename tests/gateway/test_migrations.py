import asyncio
import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest

from gateway.database import migrate
from tests.fixtures.database import rows
from tests.fixtures.servers import Server
from tests.fixtures.waiting import START_SECONDS

SECOND, OLDER = "latin", "older"
BEFORE_SEARCH_WORDS, SEARCH_WORDS = "2026-11-26T12:41:00:000000", "2026-11-26T13:07:12:104208"


def test_the_tables_say_no_more_than_the_migrations(database_url: str, tmp_path: Path) -> None:
    """Piccolo would write a migration for whatever differs; here it writes none."""
    environment = {**os.environ, "DATABASE_URL": database_url, "PICCOLO_CONF": "gateway.piccolo_conf"}
    folder = Path(__file__).parents[2] / "gateway" / "migrations"
    before = set(folder.glob("*.py"))
    command = [sys.executable, "-m", "piccolo.main", "migrations", "new", "gateway", "--auto", "--desc=nothing"]

    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    written = set(folder.glob("*.py")) - before
    for file in written:
        file.unlink()

    assert result.returncode == 0, result.stdout
    assert written == set()


def test_messages_from_before_are_found_and_known_for_what_they_are(postgres: Server) -> None:
    rows(postgres.url, f"create database {OLDER}")
    url = postgres.url.replace("/assistant", f"/{OLDER}")
    try:
        piccolo(url, "forwards", "gateway", BEFORE_SEARCH_WORDS)
        rows(url, "insert into account (id) values ($1)", UUID(int=1))
        rows(url, "insert into conversation (id, account_id, imessage_id) values ($1, $1, 'thread')", UUID(int=1))
        for number, text in enumerate(["今晚一起吃饭吗", "Liked “see you at 8”", "\u200b", None, "see you"]):
            insert = (
                "insert into message (id, account_id, conversation_id, imessage_guid, sent_at, text) values ($1, $2, $2, $3, now(), $4)"
            )
            rows(url, insert, UUID(int=number + 1), UUID(int=1), str(number), text)

        asyncio.run(migrate(url))

        stored = rows(url, "select wordless, search::text from message order by id")
        assert [row["wordless"] for row in stored] == [False, True, True, False, False]
        assert [row["search"] for row in stored][2:] == [None, None, "'see':1 'you':2"]
        assert "'吃饭':5" in stored[0]["search"]
        piccolo(url, "backwards", "gateway", SEARCH_WORDS, "--auto_agree")
        assert rows(url, "select * from pg_indexes where indexname = 'message_text'") != []
    finally:
        rows(postgres.url, f"drop database {OLDER}")


def piccolo(url: str, *arguments: str) -> None:
    environment = {**os.environ, "DATABASE_URL": url, "PICCOLO_CONF": "gateway.piccolo_conf"}
    command = [sys.executable, "-m", "piccolo.main", "migrations", *arguments]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_SECONDS, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_several_may_migrate_at_once(database_url: str) -> None:
    async def all_at_once() -> list[str]:
        return await asyncio.gather(*(migrate(database_url) for _ in range(3)))

    assert all("0 migrations not yet run" in output or "No migrations" in output for output in asyncio.run(all_at_once()))


def test_a_database_that_cannot_hold_every_text_is_refused(postgres: Server) -> None:
    rows(postgres.url, f"create database {SECOND} encoding 'LATIN1' locale 'C' template template0")
    try:
        with pytest.raises(RuntimeError, match="encoded in LATIN1"):
            asyncio.run(migrate(postgres.url.replace("/assistant", f"/{SECOND}")))
    finally:
        rows(postgres.url, f"drop database {SECOND}")
