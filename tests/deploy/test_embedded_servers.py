import asyncio
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from deploy.local.processes import StartError
from deploy.local.servers import EmbeddedPostgres, EmbeddedValkey
from gateway.database import migrate
from tests.fixtures.database import rows
from tests.fixtures.redis_client import Redis
from tests.fixtures.waiting import PATIENCE_SECONDS


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    """One for the tests that leave it as it was."""
    folder = tmp_path_factory.mktemp("server")
    postgres = EmbeddedPostgres(folder / "postgres", folder / "postgres.log")
    postgres.start()
    yield postgres
    postgres.stop()


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
        assert postgres.pid is not None
        [left, *_] = psutil.Process(postgres.pid).children(recursive=True)
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


def test_postgres_listens_on_no_port_and_its_socket_is_private(postgres: EmbeddedPostgres) -> None:
    socket_folder = Path(postgres.url.split("host=")[1])

    assert rows(postgres.url, "show listen_addresses")[0]["listen_addresses"] == ""
    assert socket_folder.stat().st_mode & 0o077 == 0


def test_nobody_else_on_the_machine_can_read_what_the_servers_keep(tmp_path: Path) -> None:
    postgres = EmbeddedPostgres(tmp_path / "postgres", tmp_path / "logs" / "postgres.log")
    valkey = EmbeddedValkey(tmp_path / "valkey", tmp_path / "logs" / "valkey.log")
    try:
        postgres.start()
        valkey.start()
        rows(postgres.url, "create table kept as select 42 as answer")
        with Redis.from_url(valkey.url) as client:
            client.set("queued", "work")
            client.save()

        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        socket_folders = [Path(postgres.url.split("host=")[1]), Path(valkey.url.removeprefix("unix://")).parent]

        assert {path.relative_to(tmp_path).parts[0] for path in files} == {"postgres", "valkey", "logs"}
        assert [path for path in [*files, *socket_folders] if path.stat().st_mode & 0o077] == []
    finally:
        valkey.stop()
        postgres.stop()


def test_the_server_may_do_no_more_than_its_user_although_root_starts_it(postgres: EmbeddedPostgres) -> None:
    assert postgres.pid is not None
    server = psutil.Process(postgres.pid)
    status = Path(f"/proc/{server.pid}/status").read_text()
    kept = {name: int(value, 16) for name, value in re.findall(r"^Cap(Prm|Eff|Amb):\s*(\S+)$", status, re.MULTILINE)}

    assert server.uids().effective != 0
    assert kept == {"Prm": 0, "Eff": 0, "Amb": 0}


def test_the_gateways_role_owns_its_database_and_may_do_nothing_else(postgres: EmbeddedPostgres) -> None:
    asyncio.run(migrate(postgres.url))

    [role] = rows(postgres.url, "select * from pg_roles where rolname = current_user")
    owned = rows(postgres.url, "select datname from pg_database where datdba = current_user::regrole")

    assert not any(role[may] for may in ("rolsuper", "rolcreaterole", "rolcreatedb", "rolreplication", "rolbypassrls"))
    assert [each["datname"] for each in owned] == ["assistant"]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        rows(postgres.url, "select pg_read_file('/etc/passwd')")


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
