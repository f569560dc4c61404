"""A backup or a restore as a command: what it says, and how it ends."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gateway.backup.backup import back_up
from gateway.backup.errors import BackupError
from gateway.backup.restore import restore
from gateway.backup.settings import BackupSettings
from shared.logging import configure_logging


def run_backup(settings: BackupSettings, target: str) -> None:
    """As `backup.back_up`; what goes wrong is the exit's message."""
    with _ending_well():
        back_up(settings, target)


def run_restore(settings: BackupSettings, source: str, *, replace: bool) -> None:
    """As `restore.restore`; what goes wrong is the exit's message."""
    with _ending_well():
        restore(settings, source, replace=replace)


@contextmanager
def _ending_well() -> Iterator[None]:
    """Errors as sentences; and whoever is told to end clears up first."""
    configure_logging("gateway", "console", "warning")
    signal.signal(signal.SIGTERM, _exit)
    try:
        yield
    except BackupError as error:
        sys.exit(f"gateway: {error}")
    except KeyboardInterrupt:
        sys.exit("gateway: interrupted")


def _exit(number: int, _frame: FrameType | None) -> None:
    sys.exit(128 + number)
