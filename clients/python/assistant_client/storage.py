"""Where a device's tokens are kept: a file that only its owner can read, the system's keyring, or memory."""

import os
import sys
import threading
from collections.abc import Callable
from datetime import datetime
from importlib import import_module
from pathlib import Path
from typing import IO, Any, Protocol
from uuid import UUID, uuid4

import msgspec
from msgspec import Struct

from assistant_client.errors import StoreError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

KEYRING_SERVICE = "conversation-assistant"


class Credentials(Struct, frozen=True, kw_only=True):
    """What a paired device has to keep.

    `renew_at` is by this machine's clock: a good while before the token expires. `refresh_key` is there while the refresh token is being
    traded in: whoever asks again with the same key gets the same answer, so that a lost one costs nothing.
    """

    url: str
    account_id: UUID
    device_id: UUID
    token: str
    renew_at: datetime
    refresh_token: str
    refresh_key: str | None = None

    def __repr__(self) -> str:
        """Without the tokens."""
        return f"Credentials(url={self.url!r}, device_id={self.device_id})"


class Lock(Protocol):
    """Held by one at a time, of all threads and processes that share a store."""

    def try_acquire(self) -> bool:
        """Take it if nobody has it; does not wait."""

    def release(self) -> None:
        """Give it back."""


class TokenStore(Protocol):
    """Keeps one device's credentials."""

    def load(self) -> Credentials | None:
        """What is kept.

        Raises:
            StoreError: it cannot be read.
        """

    def save(self, credentials: Credentials) -> None:
        """Keep these instead of what was kept; after a crash there are either the old ones or the new.

        Raises:
            StoreError: it cannot be kept.
        """

    def clear(self) -> None:
        """Keep nothing."""

    def lock(self) -> Lock:
        """A new handle on the store's lock."""


class MemoryStore:
    """Forgets everything with the process."""

    def __init__(self, credentials: Credentials | None = None) -> None:
        self._credentials = credentials
        self._mutex = threading.Lock()

    def load(self) -> Credentials | None:
        return self._credentials

    def save(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def clear(self) -> None:
        self._credentials = None

    def lock(self) -> Lock:
        return _MemoryLock(self._mutex)


class FileStore:
    """A file with mode 0600, by default `device.json` in `$XDG_CONFIG_HOME/conversation-assistant` (or `~/.config/…`)."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or default_folder() / "device.json"

    def load(self) -> Credentials | None:
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Credentials)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(
                f"{self.path} cannot be read ({type(error).__name__}): mend or delete it, then pair this device again"
            ) from error

    def save(self, credentials: Credentials) -> None:
        temporary = self.path.with_name(f"{self.path.name}.{uuid4().hex}")
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    file.write(msgspec.json.encode(credentials))
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(self.path)
            finally:
                temporary.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"The token cannot be kept in {self.path}: {error.strerror}") from error

    def clear(self) -> None:
        self.path.unlink(missing_ok=True)

    def lock(self) -> Lock:
        return FileLock(self.path.with_name(f"{self.path.name}.lock"))


class KeyringStore:
    """The system's keyring, through the package `keyring` (`pip install conversation-assistant-client[keyring]`)."""

    def __init__(self, name: str = "device") -> None:
        self._name = name

    def load(self) -> Credentials | None:
        text = _keyring(lambda keyring: keyring.get_password(KEYRING_SERVICE, self._name))
        try:
            return msgspec.json.decode(text, type=Credentials) if text else None
        except msgspec.MsgspecError as error:
            raise StoreError(
                f"What the keyring has for {KEYRING_SERVICE} cannot be read: delete it, then pair this device again"
            ) from error

    def save(self, credentials: Credentials) -> None:
        text = msgspec.json.encode(credentials).decode()
        _keyring(lambda keyring: keyring.set_password(KEYRING_SERVICE, self._name, text))

    def clear(self) -> None:
        if self.load() is not None:
            _keyring(lambda keyring: keyring.delete_password(KEYRING_SERVICE, self._name))

    def lock(self) -> Lock:
        return FileLock(default_folder() / f"keyring-{self._name}.lock")


class FileLock:
    """A lock on an empty file; the system lets go of it when the process ends, however that happens."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    def try_acquire(self) -> bool:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = self._path.open("ab")
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written: {error.strerror}") from error
        try:
            _lock(file)
        except OSError:  # somebody else has it
            file.close()
            return False
        self._file = file
        return True

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


class _MemoryLock:
    def __init__(self, mutex: threading.Lock) -> None:
        self._mutex = mutex

    def try_acquire(self) -> bool:
        return self._mutex.acquire(blocking=False)

    def release(self) -> None:
        self._mutex.release()


def default_folder() -> Path:
    """Where this program keeps its files, by the XDG Base Directory Specification."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".config") / "conversation-assistant"


def _lock(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _keyring(act: Callable[[Any], str | None]) -> str | None:
    """Do something with the package `keyring`, which is there only where it was asked for."""
    try:
        keyring = import_module("keyring")
        errors = import_module("keyring.errors")
    except ImportError as error:
        raise StoreError("The keyring needs a package: pip install 'conversation-assistant-client[keyring]'") from error
    try:
        return act(keyring)
    except errors.KeyringError as error:
        raise StoreError(f"The keyring cannot be used ({type(error).__name__}): leave out --keyring to keep the token in a file") from error
