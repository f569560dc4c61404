"""Importing as the command does, without its lines."""

from pathlib import Path

from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.destination import Destination
from assistant_client.importers.items import Item, LeftOut, Source
from assistant_client.importers.progress import ProgressFile
from assistant_client.importers.sending import Sender
from assistant_client.importers.sources import Said, opened_source
from assistant_client.importers.summary import Summary

from tests.clients.importers.made_chat_db import MadeChatDb


def imported(made: MadeChatDb, destination: Destination | None, *, resumable: bool = False) -> Summary:
    """Import a database once; `resumable` writes the progress beside it and goes on from it."""
    return sent(ChatDb(made.path), destination, made.path.parent / "state" if resumable else None)


def imported_file(path: Path, destination: Destination | None, **said: object) -> Summary:
    """Import whatever a file is."""
    return sent(opened_source(path, Said(**said)), destination, None)  # type: ignore[arg-type]


def sent(source: Source, destination: Destination | None, state_folder: Path | None) -> Summary:
    sender = Sender(destination)
    try:
        sender.run(source, ProgressFile(state_folder, source.key) if state_folder else None)
    finally:
        source.close()
    return sender.summary


def read(path: Path, **said: object) -> tuple[list[Item], list[LeftOut]]:
    """What a file gives, without sending it."""
    source = opened_source(path, Said(**said))  # type: ignore[arg-type]
    windows = list(source.windows(0))
    return [item for window in windows for item in window.items], [row for window in windows for row in window.left_out]
