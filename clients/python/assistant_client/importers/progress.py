"""How far an import came, in a small file of its own: started again it goes on from there."""

import hashlib
import os
from datetime import datetime
from pathlib import Path

import msgspec
from msgspec import Struct

_MOST_THREADS = 50


class Progress(Struct, kw_only=True):
    """Everything up to `position` has been stored by the gateway."""

    position: int = 0
    marks: dict[str, str] = {}
    """What the source said of its rows up to there."""
    threads: dict[str, str] = {}
    """Some of the conversations that were sent, with the gateway's ids: they tell whether it is still the same account."""
    since: datetime | None = None
    """Older messages were not sent."""

    def remember(self, identifier: str, conversation_id: str) -> None:
        """Keep a thread's id, as long as there are few."""
        if identifier in self.threads or len(self.threads) < _MOST_THREADS:
            self.threads[identifier] = conversation_id

    def covers(self, since: datetime | None) -> bool:
        """Whether nothing that is wanted now was left out then."""
        return self.since is None or (since is not None and since >= self.since)


class ProgressFile:
    """The progress of one source, readable by its owner only: it has names of threads in it."""

    def __init__(self, folder: Path, key: str) -> None:
        self.path = folder / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"

    def read(self) -> Progress:
        """What was written last; the beginning if there is nothing, or nothing that can be read."""
        try:
            return msgspec.json.decode(self.path.read_bytes(), type=Progress)
        except (FileNotFoundError, ValueError):
            return Progress()

    def write(self, progress: Progress) -> None:
        """Replace it in one step: who is killed meanwhile leaves the old one."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = self.path.with_suffix(f".{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(msgspec.json.encode(progress))
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.path)


def default_folder() -> Path:
    """Where programs keep what they are at (XDG base directories)."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "conversation-assistant" / "imports"
