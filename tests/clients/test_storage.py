"""One suite for all stores: what was saved is there, and its lock is held by one at a time."""

import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec
import pytest
from assistant_client import FileStore, KeyringStore, MemoryStore
from assistant_client.errors import StoreError
from assistant_client.storage import Credentials, TokenStore

NO_KEYRING = pytest.mark.skipif(find_spec("keyring") is None, reason="the package keyring is not installed")


def credentials(**changes: Any) -> Credentials:
    fields: dict[str, Any] = {
        "url": "http://127.0.0.1:3100",
        "account_id": uuid4(),
        "device_id": uuid4(),
        "token": "a.b.c",
        "renew_at": datetime(2026, 3, 6, tzinfo=UTC),
        "refresh_token": uuid4().hex,
    }
    return Credentials(**{**fields, **changes})


@pytest.fixture
def config_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path / "conversation-assistant"


@pytest.fixture
def own_keyring(config_folder: Path) -> Iterator[None]:
    """The package keyring over a backend that keeps everything in a dict: there is no desktop session here."""
    keyring, errors = import_module("keyring"), import_module("keyring.errors")
    kept: dict[tuple[str, str], str] = {}

    def delete(_: object, service: str, name: str) -> None:
        if kept.pop((service, name), None) is None:
            raise errors.PasswordDeleteError

    methods = {
        "priority": 1,
        "get_password": lambda _, service, name: kept.get((service, name)),
        "set_password": lambda _, service, name, password: kept.update({(service, name): password}),
        "delete_password": delete,
    }
    before = keyring.get_keyring()
    keyring.set_keyring(type("DictKeyring", (import_module("keyring.backend").KeyringBackend,), methods)())
    yield
    keyring.set_keyring(before)


@pytest.fixture(params=["memory", "file", pytest.param("keyring", marks=NO_KEYRING)])
def new_store(request: pytest.FixtureRequest, config_folder: Path) -> Callable[[], TokenStore]:
    """Opens the store, as another part of the program or another process would."""
    if request.param == "memory":
        store = MemoryStore()
        return lambda: store
    if request.param == "keyring":
        request.getfixturevalue("own_keyring")
        return KeyringStore
    return FileStore


def test_what_was_saved_is_there(new_store: Callable[[], TokenStore]) -> None:
    assert new_store().load() is None
    first, second = credentials(), credentials(refresh_key="key")
    new_store().save(first)
    assert new_store().load() == first
    new_store().save(second)
    assert new_store().load() == second


def test_what_was_cleared_is_gone(new_store: Callable[[], TokenStore]) -> None:
    new_store().clear()
    new_store().save(credentials())
    new_store().clear()

    assert new_store().load() is None


def test_the_lock_is_held_by_one_at_a_time(new_store: Callable[[], TokenStore]) -> None:
    mine, other = new_store().lock(), new_store().lock()

    assert mine.try_acquire()
    assert not other.try_acquire()
    mine.release()
    assert other.try_acquire()
    other.release()


def test_nobody_else_can_read_the_file(config_folder: Path) -> None:
    FileStore().save(credentials())

    [file] = config_folder.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(config_folder.stat().st_mode) == 0o700


def test_a_file_that_was_there_for_all_to_read_is_so_no_more(config_folder: Path) -> None:
    config_folder.mkdir()
    path = config_folder / "device.json"
    path.write_bytes(msgspec.json.encode(credentials()))
    path.chmod(0o644)

    FileStore().save(credentials())

    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_damaged_file_is_named(config_folder: Path) -> None:
    config_folder.mkdir()
    (config_folder / "device.json").write_text("{")

    with pytest.raises(StoreError, match=r"device\.json"):
        FileStore().load()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(StoreError, match="file"):
        FileStore(tmp_path / "file" / "device.json").save(credentials())


def test_a_process_that_dies_lets_go_of_the_lock(config_folder: Path) -> None:
    program = (
        "from assistant_client import FileStore\nlock = FileStore().lock()\nassert lock.try_acquire()\nprint('held', flush=True)\ninput()"
    )
    environment = {"PYTHONPATH": "clients/python", "XDG_CONFIG_HOME": str(config_folder.parent)}
    process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == b"held\n"
    lock = FileStore().lock()
    assert not lock.try_acquire()

    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()

    assert lock.try_acquire()
    lock.release()


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)

    with pytest.raises(StoreError, match=r"pip install 'conversation-assistant-client\[keyring\]'"):
        KeyringStore().load()


def test_no_secret_is_printed() -> None:
    kept = credentials(token="secret-token", refresh_token="secret-refresh", refresh_key="secret-key")

    assert "secret" not in repr(kept)
