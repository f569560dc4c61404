"""What is not as it should be is refused with a sentence, and nothing is touched."""

import json
import random
import socket
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.backups import Place, lying, manifest_of, members_of, write_members
from tests.fixtures.database import HeldTransaction, rows
from tests.fixtures.servers import Server
from tests.gateway.backup.conftest import System, superuser_url


def assert_untouched(place: Place) -> None:
    assert place.tables() == []
    assert not Path(place.store).exists()


def one_more_message(manifest: dict[str, Any]) -> None:
    manifest["rows"]["message"] += 1


def one_adapter_less(manifest: dict[str, Any]) -> None:
    manifest["adapters"] -= 1


def another_dump(manifest: dict[str, Any]) -> None:
    manifest["database"]["sha256"] = "0" * 64


def another_schema(manifest: dict[str, Any]) -> None:
    manifest["schema"] = "2026-11-26T18:00:00:000000"


def another_adapter_file(manifest: dict[str, Any]) -> None:
    next(iter(manifest["files"].values()))["size"] += 1


def no_adapter_files(manifest: dict[str, Any]) -> None:
    manifest["files"] = {}


def another_form(manifest: dict[str, Any]) -> None:
    manifest["format"] = 2


def no_form(manifest: dict[str, Any]) -> None:
    manifest.clear()


@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.98])
def test_a_file_that_is_cut_off(backup: Path, empty: Place, tmp_path: Path, share: float) -> None:
    whole = backup.read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: int(len(whole) * share)])

    said = empty.refusal(tmp_path / "cut.tar")

    assert "cut off" in said
    assert_untouched(empty)


def test_flipped_bytes(backup: Path, empty: Place, tmp_path: Path) -> None:
    """One in each part, wherever it falls; nothing but what fills blocks up may be another."""
    whole, draw = backup.read_bytes(), random.Random(1)
    places = {name: whole.index(data) + draw.randrange(len(data)) for name, data in members_of(backup).items()}
    assert len(places) == 6
    places["a header"] = whole.index(b"database/000001") + 1

    for name, position in places.items():
        (tmp_path / "flipped.tar").write_bytes(whole[:position] + bytes([whole[position] ^ 0x04]) + whole[position + 1 :])
        said = empty.refusal(tmp_path / "flipped.tar")
        assert "damaged" in said or "is not what was written" in said, (name, said)
    assert_untouched(empty)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (one_more_message, "lies about its rows"),
        (another_schema, "lies about its schema"),
        (one_adapter_less, "adapters is not what was written"),
        (another_dump, "database is not what was written"),
        (another_adapter_file, "is not what was written"),
        (no_adapter_files, "is not what was written"),
        (another_form, "has format 2, and this release reads format 1"),
        (no_form, "manifest.json cannot be read"),
    ],
)
def test_a_manifest_that_lies(backup: Path, empty: Place, tmp_path: Path, change: Callable[[dict[str, Any]], None], words: str) -> None:
    said = empty.refusal(lying(backup, tmp_path / "lying.tar", change))

    assert words in said
    assert_untouched(empty)


def test_a_dump_that_is_none(backup: Path, empty: Place, tmp_path: Path) -> None:
    """With a manifest that has the right digest of it."""
    members = {**members_of(backup), "database/000001": b"PGDMP and nothing more"}

    def tell(manifest: dict[str, Any]) -> None:
        import hashlib

        dump = members["database/000001"]
        manifest["database"] = {"size": len(dump), "sha256": hashlib.sha256(dump).hexdigest()}

    said = empty.refusal(lying(write_members(tmp_path / "none.tar", members), tmp_path / "lying.tar", tell))

    assert "dump cannot be read" in said
    assert_untouched(empty)


@pytest.mark.parametrize("name", ["adapters/../../../escaped/manifest.json", "/etc/escaped", "database/000007", "notes.txt"])
def test_members_that_no_backup_has(backup: Path, empty: Place, tmp_path: Path, name: str) -> None:
    said = empty.refusal(write_members(tmp_path / "other.tar", {name: b"{}", **members_of(backup)}))

    assert "damaged" in said or "is not what was written" in said
    assert_untouched(empty)


def test_a_newer_schema(system: System, new_place: Callable[[], Place], tmp_path: Path) -> None:
    newer, empty = new_place(), new_place()
    newer.restore(system.place.back_up(tmp_path / "present.tar"))
    rows(newer.url, "insert into migration (name, app_name, ran_on) values ('2099-01-01T00:00:00:000000', 'gateway', now())")

    said = empty.refusal(newer.back_up(tmp_path / "newer.tar"))

    assert "schema 2099-01-01T00:00:00:000000" in said
    assert manifest_of(tmp_path / "present.tar")["schema"] in said
    assert_untouched(empty)


def test_a_database_that_is_not_empty(backup: Path, empty: Place, tmp_path: Path) -> None:
    empty.restore(backup)
    before = empty.counts(), empty.files()

    said = empty.refusal(backup)

    assert "not empty" in said
    assert "--replace" in said
    assert (empty.counts(), empty.files()) == before


def test_what_is_to_be_replaced_stays_when_the_file_is_bad(backup: Path, empty: Place, tmp_path: Path) -> None:
    empty.restore(backup)
    before = empty.counts(), empty.files()

    empty.refusal(lying(backup, tmp_path / "lying.tar", one_more_message), replace=True)

    assert (empty.counts(), empty.files()) == before


def test_what_is_to_be_replaced_comes_back_when_postgresql_fails(backup: Path, empty: Place, postgres: Server, tmp_path: Path) -> None:
    """It refuses an index, when all rows are there. What PostgreSQL says of it is passed on, but for what may quote rows."""
    empty.restore(backup)
    rows(empty.url, "insert into account (id, created_at, sample_bytes) values (gen_random_uuid(), now(), 0)")
    before = empty.counts(), empty.files()
    superuser = superuser_url(postgres, empty)
    rows(superuser, "create function refuse() returns event_trigger language plpgsql as $$ begin raise exception 'no index'; end $$")
    rows(superuser, "create event trigger refuse on ddl_command_end when tag in ('CREATE INDEX') execute function refuse()")

    said = empty.refusal(backup, replace=True)

    assert "pg_restore failed: could not execute query: ERROR:  no index" in said
    assert (empty.counts(), empty.files()) == before
    rows(superuser, "drop event trigger refuse")
    empty.restore(backup, replace=True)
    assert empty.counts() == manifest_of(backup)["rows"]


def test_a_database_that_somebody_uses(backup: Path, empty: Place) -> None:
    with closing(HeldTransaction(empty.url)):
        said = empty.refusal(backup)

    assert "1 other sessions use this database: stop all gateways" in said
    assert_untouched(empty)


def test_a_backup_of_nothing(empty: Place, tmp_path: Path) -> None:
    done = empty.run("backup", str(tmp_path / "backup.tar"))

    assert done.returncode == 1
    assert b"has no tables of the gateway's" in done.stderr
    assert list(tmp_path.glob("backup*")) == []


def test_a_server_that_is_away(tmp_path: Path) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"postgresql://somebody:secret-word@127.0.0.1:{nobody.getsockname()[1]}/assistant"
        done = Place(url, tmp_path / "store").run("backup", str(tmp_path / "backup.tar"))

    assert done.returncode == 1
    assert done.stderr.decode().count("\n") == 1
    assert b"DATABASE_URL" in done.stderr
    assert b"secret-word" not in done.stderr


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("/dev/full", "is not a file"),
        ("/nowhere/backup.tar", "No such file or directory"),
        ("/proc/self/backup.tar", "could not be written"),
    ],
)
def test_a_target_that_cannot_be_written(system: System, target: str, words: str) -> None:
    done = system.place.run("backup", target)

    assert done.returncode == 1
    assert words in done.stderr.decode()
    assert "Traceback" not in done.stderr.decode()


def test_a_disk_that_is_full(system: System) -> None:
    import subprocess

    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(**system.place.command("backup", "-"), stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)

    assert done.returncode == 1
    assert done.stderr.decode() == "gateway: Standard output could not be written (No space left on device): there is no backup\n"


def test_a_file_that_is_not_there(empty: Place, tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in empty.refusal(tmp_path / "nothing.tar")


def test_settings_that_are_missing_are_named(empty: Place) -> None:
    done = empty.run("backup", "-", environment={"DATABASE_URL": ""})

    assert done.returncode == 1
    assert b"DATABASE_URL is not set" in done.stderr
    assert json.dumps(done.stdout.decode()) == '""'
