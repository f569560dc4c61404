"""`kill -9`, Ctrl-C and SIGTERM in the middle, and what others on the machine can see meanwhile. What it waits in is real: a lock that the
test holds in PostgreSQL."""

import signal
import stat
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.fixtures.backups import Place, command_lines, manifest_of
from tests.fixtures.database import HeldTransaction, rows
from tests.fixtures.processes import gone
from tests.fixtures.servers import Server
from tests.fixtures.waiting import START_SECONDS, eventually
from tests.gateway.backup.conftest import WORD, System, superuser_url

LOCK = 4711
PASSWORD = "pass-word-of-the-database"


@pytest.fixture
def blocked_dump(backup: Path, new_place: Callable[[], Place]) -> Iterator[Place]:
    """A place whose dump waits for a table: one in parts, which has no rows of its own to count."""
    place = new_place()
    place.restore(backup)
    rows(place.url, "create table gate (id int) partition by range (id)")
    with closing(HeldTransaction(place.url)) as held:
        held.run("lock table gate in access exclusive mode")
        yield Place(place.url.replace("gateway@", f"gateway:{PASSWORD}@"), place.store)


@contextmanager
def blocked_restore(place: Place, postgres: Server) -> Iterator[None]:
    """Restores wait when all rows are in place, before the first index."""
    superuser = superuser_url(postgres, place)
    wait = f"begin perform pg_advisory_xact_lock({LOCK}); end"
    rows(superuser, f"create or replace function wait() returns event_trigger language plpgsql as $$ {wait} $$")
    rows(superuser, "create event trigger wait on ddl_command_end when tag in ('CREATE INDEX') execute function wait()")
    with closing(HeldTransaction(superuser)) as held:
        held.run(f"select pg_advisory_lock({LOCK})")
        yield
        held.run(f"select pg_advisory_unlock({LOCK})")
    rows(superuser, "drop event trigger wait")


def waiting(process: "subprocess.Popen[bytes]", program: str) -> psutil.Process:
    """The child that waits for a lock."""
    found: list[psutil.Process] = []

    def there() -> bool:
        assert process.poll() is None, process.communicate()
        with suppress(psutil.NoSuchProcess):  # one that was only asked for its version
            children = psutil.Process(process.pid).children()
            found[:] = [child for child in children if child.name() == program and "--dbname" in " ".join(child.cmdline())]
        return bool(found)

    eventually(there)
    return found[0]


def waits_for_lock(place: Place, query: str) -> bool:
    return bool(
        rows(
            place.url,
            "select true from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database() and query ilike $1",
            query,
        )
    )


def test_a_backup_that_is_killed_leaves_nothing_under_its_name(blocked_dump: Place, tmp_path: Path) -> None:
    target, unfinished = tmp_path / "backup.tar", tmp_path / "backup.tar.unfinished"
    with subprocess.Popen(**blocked_dump.command("backup", str(target)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        dump = waiting(process, "pg_dump")
        eventually(lambda: waits_for_lock(blocked_dump, "lock table%"))
        assert stat.S_IMODE(unfinished.stat().st_mode) == 0o600

        process.kill()

    eventually(lambda: gone(dump))
    assert not target.exists()


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 128 + 15), (signal.SIGINT, 1)])
def test_a_backup_that_is_told_to_end_clears_up(blocked_dump: Place, tmp_path: Path, number: signal.Signals, code: int) -> None:
    with subprocess.Popen(
        **blocked_dump.command("backup", str(tmp_path / "backup.tar")), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        dump = waiting(process, "pg_dump")
        process.send_signal(number)
        assert process.wait(START_SECONDS) == code
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()

    assert gone(dump)
    assert list(tmp_path.glob("backup.tar*")) == []


def test_two_backups_into_one_file(blocked_dump: Place, system: System, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar"
    with subprocess.Popen(**blocked_dump.command("backup", str(target)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        waiting(process, "pg_dump")

        second = system.place.run("backup", str(target))
        process.terminate()

    assert second.returncode == 1
    assert b"Another backup writes" in second.stderr


def test_what_a_killed_one_left_is_written_over(system: System, tmp_path: Path) -> None:
    unfinished = tmp_path / "backup.tar.unfinished"
    unfinished.write_bytes(b"half a backup " * 1_000_000)
    unfinished.chmod(0o644)

    backup = system.place.back_up(tmp_path / "backup.tar")

    assert list(tmp_path.glob("backup.tar*")) == [backup]
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    assert manifest_of(backup)["rows"]["account"] >= 1


def test_nobody_sees_passwords_keys_or_words(blocked_dump: Place, tmp_path: Path) -> None:
    """No command line has them; the child knows the password, and nothing else that is secret."""
    command = blocked_dump.command("backup", str(tmp_path / "backup.tar"), environment={"JWT_KEYS": "key-of-the-gateway"})
    with subprocess.Popen(**command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        dump = waiting(process, "pg_dump")
        lines = dict(command_lines())
        environment = dump.environ()
        process.terminate()
        said = b"".join(process.communicate())

    assert dump.pid in lines
    assert "--dbname=" in lines[dump.pid]
    password = urlsplit(blocked_dump.url).password
    secret = (f":{password}@", f"={password}", WORD, "key-of-the-gateway")
    assert not [line for line in lines.values() if any(word in line for word in secret)]
    assert environment["PGPASSWORD"] == password
    assert {"JWT_KEYS", "DATABASE_URL"}.isdisjoint(environment)
    assert not any(word.encode() in said for word in secret)


def test_a_restore_that_is_killed_can_be_run_again(backup: Path, empty: Place, postgres: Server) -> None:
    with blocked_restore(empty, postgres):
        with subprocess.Popen(**empty.command("restore", str(backup)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            program = waiting(process, "pg_restore")
            eventually(lambda: waits_for_lock(empty, "create%index%"))
            lines = dict(command_lines())
            process.kill()
        eventually(lambda: gone(program))
        assert empty.tables() == []
    assert not [line for line in lines.values() if WORD in line]

    said = empty.restore(backup)

    assert WORD not in said
    assert empty.counts() == manifest_of(backup)["rows"]
    assert set(empty.files()) == {name.removeprefix("adapters/") for name in manifest_of(backup)["files"]}


def test_a_killed_restore_loses_nothing_that_it_was_to_replace(backup: Path, empty: Place, postgres: Server) -> None:
    empty.restore(backup)
    rows(empty.url, "insert into account (id, created_at, sample_bytes) values (gen_random_uuid(), now(), 0)")
    before = empty.counts()
    with (
        blocked_restore(empty, postgres),
        subprocess.Popen(**empty.command("restore", str(backup), "--replace"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        waiting(process, "pg_restore")
        eventually(lambda: waits_for_lock(empty, "create%index%"))
        process.kill()

    said = empty.refusal(backup)
    assert "not empty" in said
    assert empty.counts() == before

    empty.restore(backup, replace=True)
    assert empty.counts() == manifest_of(backup)["rows"]


def test_a_restore_that_is_told_to_end_puts_everything_back(backup: Path, empty: Place, postgres: Server) -> None:
    with blocked_restore(empty, postgres):
        with subprocess.Popen(**empty.command("restore", str(backup)), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
            program = waiting(process, "pg_restore")
            eventually(lambda: waits_for_lock(empty, "create%index%"))
            process.terminate()
            assert process.wait(START_SECONDS) == 128 + 15
        assert gone(program)
    assert empty.tables() == []
    assert empty.files() == {}
