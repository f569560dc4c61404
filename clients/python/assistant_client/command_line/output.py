"""What is shown: tables and colours on a terminal, plain lines and JSON for other programs."""

import sys
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_ID_WIDTH = 36


class Output:
    """Results go to standard output; what is said beside them, such as progress and errors, to standard error."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=True)
        self.notes = Console(stderr=True, highlight=False, soft_wrap=True)

    @property
    def interactive(self) -> bool:
        """Whether there is somebody to ask."""
        return self.console.is_terminal and sys.stdin.isatty()

    def line(self, text: str) -> None:
        print(shown(text), flush=True)

    def note(self, text: str, style: str = "dim") -> None:
        self.notes.print(Text(shown(text), style))

    def error(self, text: str) -> None:
        self.notes.print(Text.assemble(("✗ ", "red"), shown(text)))

    def json(self, value: Any) -> None:
        """One value on one line, with the names that it has in the API."""
        sys.stdout.buffer.write(msgspec.json.encode(value) + b"\n")
        sys.stdout.buffer.flush()

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A table on a terminal; elsewhere a line a row with tabs between."""
        if not self.console.is_terminal:
            for row in rows:
                print("\t".join(shown(cell).replace("\n", " ") for cell in row))
            return
        table = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            table.add_column(column, no_wrap=True, min_width=_ID_WIDTH if column == "id" else None)  # half an id is none
        for row in rows:
            table.add_row(*(Text(shown(cell).replace("\n", " ")) for cell in row))
        self.console.print(table, soft_wrap=False)


def shown(text: str) -> str:
    """A text without what would command the terminal: names and messages are written by anybody."""
    return "".join(" " if character == "\t" else "\N{REPLACEMENT CHARACTER}" if _commands(character) else character for character in text)


def _commands(character: str) -> bool:
    return character != "\n" and (
        unicodedata.category(character) == "Cc" or character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


def moment(at: datetime | None) -> str:
    """A time by this machine's clock."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M") if at is not None else ""
