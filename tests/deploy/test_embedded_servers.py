import threading
from pathlib import Path

import psutil
import pytest
from redis import Redis

from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import StartError
from deploy.local.valkey import EmbeddedValkey
from tests.fixtures.database import rows
from tests.fixtures.waiting import PATIENCE_SECONDS


def test_postgres_keeps_what_was_committed_when_it_is_killed(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "postgres.log")
    postgres.start()
    try:
        rows(postgres.url, "create table kept as select 42 as answer")

        postgres.kill()
        postgres.start()

        assert rows(postgres.url, "select answer from kept")[0]["answer"] == 42
    finally:
        postgres.stop()


def test_postgres_is_started_again_once_the_processes_of_a_killed_one_are_gone(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "postgres.log")
    postgres.start()
    try:
        assert postgres.process.pid is not None
        [left, *_] = psutil.Process(postgres.process.pid).children(recursive=True)
        left.suspend()
        postgres.kill()
        leaving = threading.Timer(1, left.resume)
        leaving.start()
        postgres.start()
        leaving.join()
        assert rows(postgres.url, "select 1 as one")[0]["one"] == 1
    finally:
        postgres.stop()


def test_a_stopped_postgres_leaves_no_socket_and_can_be_started_again(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "postgres.log")
    for _ in range(2):
        postgres.start()
        postgres.stop()
        assert not Path(postgres.url.split("host=")[1]).exists()


def test_postgres_listens_on_no_port_and_its_socket_is_private(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "postgres.log")
    postgres.start()
    try:
        socket_folder = Path(postgres.url.split("host=")[1])

        assert rows(postgres.url, "show listen_addresses")[0]["listen_addresses"] == ""
        assert socket_folder.stat().st_mode & 0o077 == 0
    finally:
        postgres.stop()


def test_a_damaged_cluster_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    postgres = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "postgres.log")

    with pytest.raises(StartError) as refused:
        postgres.start(timeout=PATIENCE_SECONDS)
    postgres.stop()

    assert "PostgreSQL ended with code" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_valkey_keeps_its_data_over_a_restart(tmp_path: Path) -> None:
    valkey = EmbeddedValkey(tmp_path / "valkey", tmp_path / "valkey.log")
    valkey.start()
    try:
        with Redis.from_url(valkey.url) as client:
            client.set("queued", "work")
        valkey.stop()
        assert not Path(valkey.url.removeprefix("unix://")).parent.exists()
        valkey.start()

        with Redis.from_url(valkey.url) as client:
            assert client.get("queued") == b"work"
    finally:
        valkey.stop()
