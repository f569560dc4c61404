"""`python -m deploy.local.backup`: what `make run` keeps, backed up while it runs or not, and restored into another folder."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from deploy.local.servers import EmbeddedPostgres
from deploy.local.stack import exclusive
from gateway.database import migrate
from tests.fixtures.backups import publish
from tests.fixtures.database import rows
from tests.fixtures.waiting import START_SECONDS


def move(data_dir: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATA_DIR": str(data_dir)}
    command = [sys.executable, "-m", "deploy.local.backup", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=START_SECONDS, check=False)


@contextmanager
def running(data_dir: Path) -> Iterator[EmbeddedPostgres]:
    postgres = EmbeddedPostgres(data_dir / "postgres", data_dir / "logs" / "postgres.log")
    with exclusive(data_dir):
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()


def test_from_one_folder_into_another(tmp_path: Path) -> None:
    """A backup while it runs and one while it does not; a restore, and one in its place. Redis' data goes: it is of what was before."""
    old, new, account, adapter = tmp_path / "old", tmp_path / "new", uuid4(), uuid4()
    with running(old) as postgres:
        asyncio.run(migrate(postgres.url))
        rows(postgres.url, "insert into account (id, created_at, sample_bytes) values ($1, now(), 0)", account)
        query = (
            "insert into adapter (id, account_id, base_model, sample_ids, eval_loss, baseline_eval_loss, created_at)"
            " values ($1, $2, 'model', '{}', 2, 2.5, now())"
        )
        rows(postgres.url, query, adapter, account)
        publish(old / "adapters", str(account), str(adapter), b"weights", tmp_path / "made")
        while_running = move(old, "backup", str(tmp_path / "one.tar"))
        refused = move(old, "restore", str(tmp_path / "one.tar"))
    while_stopped = move(old, "backup", str(tmp_path / "two.tar"))
    (new / "valkey").mkdir(parents=True)
    (new / "valkey" / "appendonly.aof").touch()

    restored = move(new, "restore", str(tmp_path / "one.tar"))
    again = move(new, "restore", str(tmp_path / "two.tar"))
    replaced = move(new, "restore", str(tmp_path / "two.tar"), "--replace")

    for done in (while_running, while_stopped, restored, replaced):
        assert done.returncode == 0, done.stderr
    assert (refused.returncode, again.returncode) == (1, 1)
    assert "It runs already" in refused.stderr
    assert "not empty" in again.stderr
    assert not (new / "valkey").exists()
    assert (new / "adapters" / str(account) / str(adapter) / "adapter_model.safetensors").read_bytes() == b"weights"
    with running(new) as postgres:
        assert [row["id"] for row in rows(postgres.url, "select id from account")] == [account]


def test_a_folder_with_nothing_in_it(tmp_path: Path) -> None:
    done = move(tmp_path / "nothing", "backup", str(tmp_path / "backup.tar"))

    assert done.returncode == 1
    assert "There is nothing to back up" in done.stderr
    assert not (tmp_path / "nothing").exists()


def test_a_file_that_is_not_named(tmp_path: Path) -> None:
    done = move(tmp_path, "backup", "")

    assert done.stderr == "Name the file: make backup FILE=assistant.tar\n"
