import re
from pathlib import Path

import pytest

from gateway.backup.errors import BackupError
from gateway.backup.programs import Login, find, newest, running
from gateway.backup.progress import Progress, size


def program(folder: Path, name: str, version: str) -> Path:
    """A program that says which version it is, and does nothing else."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/sh\necho "{name} (PostgreSQL) {version}"\n')
    path.chmod(0o755)
    return path


def test_one_in_path_is_taken_if_it_is_new_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = program(tmp_path, "pg_dump", "14.2")
    monkeypatch.setenv("PATH", str(tmp_path))

    assert find("pg_dump", lowest=14).path == str(old)
    assert find("pg_dump", lowest=15).path != str(old)
    assert newest("pg_dump").major >= find("pg_dump", lowest=15).major >= 15


def test_too_old_a_program_is_named_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, "pg_dump", "14.2")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BackupError, match=r"version 14.*, and 99 or newer is needed: install .*postgresql-client-99"):
        find("pg_dump", lowest=99)


def test_too_new_a_program_is_none_for_an_older_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_restore 17 and newer begin with a setting that PostgreSQL 16 does not know."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BackupError, match="and 12 to 13 is needed"):
        find("pg_restore", lowest=12, highest=13)


def test_no_program_at_all() -> None:
    with pytest.raises(BackupError, match=r"There is no pg_nothing: install PostgreSQL's client programs"):
        newest("pg_nothing")


@pytest.mark.parametrize(
    ("url", "argument", "password"),
    [
        ("postgresql://ana:p%40ss@db:5432/assistant", "postgresql://ana@db:5432/assistant", "p@ss"),
        ("postgresql://ana@/assistant?host=/run/pg", "postgresql://ana@/assistant?host=/run/pg", None),
        ("postgresql:///assistant?user=ana&password=p%26q&sslmode=require", "postgresql:///assistant?user=ana&sslmode=require", "p&q"),
        ("postgres://ana:secret@a:1,b:2/assistant", "postgres://ana@a:1,b:2/assistant", "secret"),
    ],
)
def test_a_password_is_in_no_argument(url: str, argument: str, password: str | None) -> None:
    login = Login.of(url)

    assert login.argument == f"--dbname={argument}"
    assert login.environment == ({"PGPASSWORD": password} if password else {})


def test_what_quotes_rows_is_not_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = program(tmp_path, "pg_restore", "99.1")
    words = """pg_restore: error: COPY failed for table "message": ERROR:  bad value "Dear Sam"
CONTEXT:  COPY message, line 1: Dear Sam"""
    path.write_text(path.read_text() + f"[ \"$1\" = --version ] || {{ echo '{words}' >&2; exit 1; }}\n")
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    with running(newest("pg_restore"), []) as child, pytest.raises(BackupError) as failed:
        child.wait()

    assert str(failed.value) == 'pg_restore failed: COPY failed for table "message"'


def test_what_is_quick_is_not_reported(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress("verifying", 100)
    progress.add(100)
    progress.end()

    assert capsys.readouterr().err == ""


def test_what_takes_longer_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("gateway.backup.progress.time.monotonic", lambda: now)
    progress = Progress("verifying", 40_000_000)
    now = 1002.5
    progress.add(10_000_000)
    now = 1003.0
    progress.add(10_000_000)  # not again so soon
    now = 1020.0
    progress.add(20_000_000)

    lines = capsys.readouterr().err.splitlines()

    assert lines == ["verifying: 10.0 MB of 40.0 MB (25%), 4.0 MB/s", "verifying: 40.0 MB of 40.0 MB (100%), 2.0 MB/s"]
    assert re.fullmatch(r"999 B 1\.0 kB 1\.5 GB", f"{size(999)} {size(1000)} {size(1_500_000_000)}")
