"""`assistant import`: what it is told, and what it tells. It prints numbers and names of rows, never a message's text."""

import argparse
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.apple.follow import Follower
from assistant_client.importers.destination import Destination
from assistant_client.importers.failures import ImportFailure
from assistant_client.importers.items import Source
from assistant_client.importers.progress import ProgressFile, default_folder
from assistant_client.importers.sending import Sender
from assistant_client.importers.sources import Said, opened_source

_SECONDS_BETWEEN_LINES = 5.0
_HELP = "Messages' chat.db, WhatsApp's text or zip, Telegram's result.json, a vCard file, or an AddressBook database or its folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `assistant import`."""
    parser.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help=_HELP)
    parser.add_argument("--dry-run", action="store_true", help="only say what would be sent and what would be left out")
    parser.add_argument("--follow", action="store_true", help="go on with what comes into chat.db, until it is stopped")
    parser.add_argument("--since", type=_time, metavar="DATE", help="leave out what was sent before, such as 2024-01-31")
    parser.add_argument("--owner", metavar="NAME", help="your name as the export has it, where it does not say which one is you")
    parser.add_argument("--region", type=_region, metavar="CC", help="the country of telephone numbers without a country code, such as US")
    parser.add_argument("--date-order", choices=["dmy", "mdy", "ymd"], help="how WhatsApp's dates are written, where no date tells it")
    parser.add_argument("--time-zone", type=_zone, metavar="ZONE", help="where the phone was, such as Europe/Berlin; here if left out")
    parser.add_argument("--again", action="store_true", help="send everything anew, also what was sent before; it changes nothing twice")
    parser.add_argument(
        "--state-folder", type=Path, default=default_folder(), metavar="FOLDER", help="where it is kept how far imports came"
    )


def run(arguments: argparse.Namespace, client: Destination) -> int:
    """Import what the arguments name. The exit code is 0 if every source could be read; damaged rows are named and no failure."""
    console = Console(highlight=False, soft_wrap=True)
    sender = Sender(None if arguments.dry_run else client, since=arguments.since, region=arguments.region)
    failed = False
    databases: list[Path] = []
    try:
        for path, source in _opened(arguments):
            if source is None:
                failed = True
                continue
            if isinstance(source, ChatDb):
                databases.append(source.path)
            failed = not _import(path, source, sender, arguments, console) or failed
    except KeyboardInterrupt:
        console.print("Stopped. Started again it goes on from here", markup=False)
        return 130
    finally:
        for line in sender.summary.lines():
            console.print(line, markup=False)
    if arguments.follow and not failed:
        return _follow(databases, sender, arguments, console)
    return 1 if failed else 0


def _opened(arguments: argparse.Namespace) -> Iterator[tuple[Path, Source | None]]:
    """The sources, those of contacts first: so the messages find the people they are from."""
    said = Said(owner=arguments.owner, date_order=arguments.date_order, time_zone=arguments.time_zone)
    sources: list[tuple[Path, Source | None]] = []
    for path in arguments.sources:
        try:
            sources.append((path, opened_source(path.expanduser(), said)))
        except ImportFailure as failure:
            _complain(str(failure))
            sources.append((path, None))
    return iter(sorted(sources, key=lambda each: each[1] is not None and each[1].rows() > 0))


def _import(path: Path, source: Source, sender: Sender, arguments: argparse.Namespace, console: Console) -> bool:
    """Whether a source could be read to its end."""
    progress_file = ProgressFile(arguments.state_folder, source.key)
    if arguments.again:
        progress_file.path.unlink(missing_ok=True)
    try:
        with _telling(path.name, source.rows(), console) as told:
            sender.run(source, progress_file, told)
    except (ImportFailure, sqlite3.Error) as failure:
        _complain(f"{path}: {failure}")
        return False
    finally:
        source.close()
    return True


def _follow(databases: list[Path], sender: Sender, arguments: argparse.Namespace, console: Console) -> int:
    if len(databases) != 1 or arguments.dry_run:
        _complain("--follow needs one chat.db, and no --dry-run")
        return 2
    follower = Follower(databases[0], sender, arguments.state_folder, told=lambda line: console.print(line, markup=False))
    console.print(f"Following {databases[0]}; Ctrl-C ends it", markup=False)
    try:
        follower.run(threading.Event())
    except KeyboardInterrupt:
        for line in sender.summary.lines():
            console.print(line, markup=False)
    return 0


def _complain(message: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(message, markup=False)


@contextmanager
def _telling(name: str, rows: int, console: Console) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere a line at the begin, and one now and then."""
    if not console.is_terminal or rows == 0:
        console.print(f"Importing {name}{f': {rows:,} rows' if rows else ''}", markup=False)
        yield _Lines(rows, console)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(name, total=rows)
        yield lambda position: bar.update(task, completed=position)


class _Lines:
    """Says how far it is, at most every few seconds."""

    def __init__(self, rows: int, console: Console) -> None:
        self._rows = rows
        self._console = console
        self._said = time.monotonic()

    def __call__(self, position: int) -> None:
        if time.monotonic() - self._said >= _SECONDS_BETWEEN_LINES:
            self._console.print(f"  {position:,} of {self._rows:,}", markup=False)
            self._said = time.monotonic()


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("is a date such as 2024-01-31") from error
    return moment.astimezone(UTC)


def _region(text: str) -> str:
    if len(text) != 2 or not text.isascii() or not text.isalpha():
        raise argparse.ArgumentTypeError("is a country of two letters, such as US")
    return text.upper()


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, LookupError) as error:
        raise argparse.ArgumentTypeError("is a zone such as Europe/Berlin") from error
