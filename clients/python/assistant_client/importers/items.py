"""What every source gives: messages with the thread that they are of, and what was left out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from assistant_client.models import ContactCard, SyncedMessage

OWNER = "me"
"""The sender id of the owner's messages: one for all handles and services, so that a reaction that is taken back elsewhere is found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thread:
    """A conversation as its source knows it."""

    identifier: str
    display_name: str | None = None
    is_group: bool = False
    participant_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Item:
    """A message of a thread. `row` names it in the source without saying anything of its text, such as `message 17`."""

    row: str
    thread: Thread
    message: SyncedMessage


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A row that becomes no message, and why. Of a damaged one the summary tells the name."""

    row: str
    reason: str
    is_damaged: bool = False


class DamagedRow(ValueError):
    """A row that cannot be read; the message says what is wrong with it and quotes nothing of it."""


@dataclass(slots=True)
class Window:
    """Some rows of a source in a row, and the position behind them."""

    position: int
    items: list[Item] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    incomplete_after: int | None = None
    """The position before a row that may still be being written: it is read again the next time."""


class Source(Protocol):
    """Something that messages and contacts are imported from."""

    @property
    def key(self) -> str:
        """Names this source's progress: the same for the same messages, wherever they lie."""
        ...

    def contacts(self) -> Iterator[ContactCard]:
        """The people that it knows by name."""
        ...

    def rows(self) -> int:
        """How many rows there are; an estimate will do."""
        ...

    def marks(self, position: int) -> dict[str, str]:
        """What tells later whether the rows up to a position are still the same."""
        ...

    def goes_on_from(self, position: int, marks: dict[str, str]) -> bool:
        """Whether the rows up to this position are those that the marks were made of."""
        ...

    def windows(self, after: int) -> Iterator[Window]:
        """Everything behind a position, in an order in which the same rows always come."""
        ...

    def close(self) -> None: ...
