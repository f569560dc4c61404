"""Follows a `chat.db` that Messages goes on writing to: new rows, and edits and retractions of rows that were passed.

Whether anything was written is asked of SQLite once a second, which reads no table. Tapbacks are rows of their own. An edit changes its row
and leaves no other trace, so the last rows are looked through after each change, and all of them once at the start.
"""

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

from assistant_client.errors import TooManyRequests, Unavailable, Unreachable
from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.failures import UnreadableSource
from assistant_client.importers.items import Item, Window
from assistant_client.importers.progress import Progress, ProgressFile
from assistant_client.importers.sending import Sender

INTERVAL = 1.0
"""Seconds between two looks."""
AWAY: tuple[type[Exception], ...] = (Unreachable, Unavailable, TooManyRequests)
"""What says that the gateway is away: the same will work later."""
UNREADABLE: tuple[type[Exception], ...] = (OSError, sqlite3.OperationalError, UnreadableSource)
"""What says that the database is: while it is being restored there is none, or one that is locked."""
_RECENT = 10_000
"""Rows that are looked through for edits after each change: Messages lets people edit for 15 minutes."""
_LONGEST_WAIT = 60.0


class Follower:
    """Sends what comes into a database until it is stopped."""

    def __init__(self, path: Path, sender: Sender, state_folder: Path, told: Callable[[str], None] = lambda line: None) -> None:
        """`told` gets a line for what a person should know."""
        self._path = path
        self._sender = sender
        self._state_folder = state_folder
        self._told = told
        self._source = ChatDb(path)
        self._file = ProgressFile(state_folder, self._source.key)
        self._edits: dict[int, Item] = {}
        """What was sent last of the edited rows, by number."""
        self._progress: Progress | None = None

    def run(self, stop: threading.Event, interval: float = INTERVAL) -> None:
        """Follow until `stop` is set. While the gateway or the database is away it asks again, later each time; nothing is lost."""
        seen: tuple[int, int] | None = None
        wait = interval
        try:
            while not stop.is_set():
                try:
                    changes = self._changes()
                    if changes != seen:
                        self._look(everywhere=seen is None or changes[1] != seen[1])
                    seen, wait = changes, interval
                except AWAY + UNREADABLE as error:
                    wait = min(wait * 2, _LONGEST_WAIT)
                    what = "The gateway is away" if isinstance(error, AWAY) else "The database cannot be read just now"
                    self._told(f"{what}; trying again in {wait:.0f} s")
                stop.wait(wait)
        finally:
            self._source.close()

    def _changes(self) -> tuple[int, int]:
        """As the source's; where another file lies in its place, that one is followed."""
        if self._path.stat().st_ino != self._source.inode:
            other = ChatDb(self._path)
            self._source.close()
            self._source = other
        return self._source.changes()

    def _look(self, *, everywhere: bool) -> None:
        """Send what came since the last look."""
        if self._progress is None:
            self._progress = self._sender.resumed(self._source, self._file)
        elif self._progress.position > 0 and not self._source.goes_on_from(self._progress.position, self._progress.marks):
            self._told("The database is another one now, or was restored: it is read from its beginning")
            self._progress = Progress(since=self._progress.since)
            everywhere = True
        passed = self._progress.position
        self._send_edits(0 if everywhere else max(0, passed - _RECENT), passed)
        self._sender.go_on(self._source, self._progress, self._file)

    def _send_edits(self, after: int, up_to: int) -> None:
        """Send the edited rows that are otherwise than they were sent last."""
        assert self._progress is not None
        window = Window(up_to)
        for row in self._source.edited(after, up_to):
            if isinstance(row, Item) and self._edits.get(number := int(row.row.rpartition(" ")[2])) != row:
                self._edits[number] = row
                window.items.append(row)
        if window.items:
            self._sender.send_window(window, self._progress)
