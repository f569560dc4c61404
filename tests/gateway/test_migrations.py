import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.database import migrate
from tests.fixtures.database import rows
from tests.fixtures.servers import Server
from tests.fixtures.waiting import START_SECONDS

SECOND, OLDER = "latin", "older"


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


def test_a_database_from_before_the_first_release_is_refused(postgres: Server) -> None:
    rows(postgres.url, f"create database {OLDER}")
    url = postgres.url.replace("/assistant", f"/{OLDER}")
    try:
        rows(url, "create table migration (id serial, name varchar(200), app_name varchar(200), ran_on timestamp)")
        rows(url, "insert into migration (name, app_name) values ('2026-11-22T04:40:00:000000', 'gateway')")
        with pytest.raises(RuntimeError, match="before the first release"):
            asyncio.run(migrate(url))
    finally:
        rows(postgres.url, f"drop database {OLDER} (force)")


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
