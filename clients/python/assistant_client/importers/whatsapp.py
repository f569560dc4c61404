"""WhatsApp's export of a chat as a source: a text, or a zip of the text and the files."""

import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import MAXYEAR, UTC, datetime, tzinfo
from pathlib import Path
from typing import IO

from assistant_client.importers.checking import is_handle, problem_of
from assistant_client.importers.failures import ImportFailure, UnreadableSource
from assistant_client.importers.items import OWNER, Item, LeftOut, Thread, Window
from assistant_client.importers.whatsapp_lines import DateOrder, date_orders, header, without_marks
from assistant_client.importers.whatsapp_text import content_of
from assistant_client.models import ContactCard, SyncedMessage

WINDOW = 1_000
_MOST_LINES = 20_000
"""Of one message: a longer one is refused for its length, and need not be held."""
_NAME_OF_FILE = re.compile(r"WhatsApp.*?(?: - | with | mit | con | avec | com | met | med | z | с )(?P<name>.+)$", re.IGNORECASE)  # noqa: RUF001
_QUOTES = frozenset('“”„"«»')
"""A name has none; a line of the system has them around a group's new name."""
_ZIP = b"PK\x03\x04"


@dataclass(slots=True)
class _Written:
    """A message as it is written: where it begins, when, by whom, and all its lines."""

    line: int
    time: datetime | None
    sender: str | None
    text: str


class WhatsAppChat:
    """The messages of an export in the order of its lines. A position is a number of messages."""

    def __init__(
        self, path: Path, *, owner: str | None = None, date_order: DateOrder | None = None, time_zone: tzinfo | None = None
    ) -> None:
        """Read it once, for its people and the order of day and month.

        Args:
            owner: the owner's name as the export has it; needed of groups.
            date_order: needed where no date of the file tells day and month apart.
            time_zone: that of the phone; this machine's if None.

        Raises:
            UnreadableSource: it is no export, or a damaged one.
            ImportFailure: the owner, or the order, has to be said.
        """
        self.path = path
        self._time_zone = time_zone
        self._sizes = _sizes(path)
        self._order: DateOrder = date_order or self._order_of_dates()
        senders = Counter[str]()
        digest = hashlib.sha256()
        self._count = 0
        for written in self._written():
            self._count += 1
            digest.update(written.text.encode("utf-8", "surrogateescape"))
            if written.sender is not None and not content_of(written.text, {}).is_system:
                senders[written.sender] += 1
        self._owner = self._who_is_owner(list(senders), owner)
        others = [name for name in senders if name != self._owner]
        name = _name_of(path) or (others[0] if len(others) == 1 else None)
        if name is None:
            raise ImportFailure(f"{path.name} does not say which chat it is of: name it as WhatsApp does, `WhatsApp Chat with NAME.txt`")
        self.thread = _thread(name, others)
        self.key = f"whatsapp:{digest.hexdigest()}:{name}:{owner}:{self._order}:{time_zone}"

    def close(self) -> None:
        pass

    def contacts(self) -> Iterator[ContactCard]:
        return iter(())

    def rows(self) -> int:
        return self._count

    def marks(self, position: int) -> dict[str, str]:
        return {}

    def goes_on_from(self, position: int, marks: dict[str, str]) -> bool:
        """The key is of the whole content: with another one, another progress is read."""
        return position <= self._count

    def windows(self, after: int) -> Iterator[Window]:
        equals = Counter[bytes]()
        window = Window(0)
        for position, written in enumerate(self._written(), start=1):
            outcome = self._outcome(written, equals)
            if position > after:
                if isinstance(outcome, Item):
                    window.items.append(outcome)
                else:
                    window.left_out.append(outcome)
            window.position = position
            if len(window.items) + len(window.left_out) == WINDOW:
                yield window
                window = Window(position)
        if window.items or window.left_out:
            yield window

    def _outcome(self, written: _Written, equals: Counter[bytes]) -> Item | LeftOut:
        row = f"line {written.line}"
        if written.time is None:
            return LeftOut(row, "a date that there is not", is_damaged=True)
        content = content_of(written.text, self._sizes)
        is_system = written.sender is None or content.is_system
        if content.text is None and content.attachment is None and not content.is_deleted:
            return LeftOut(row, "nothing in it, such as a photo to be seen once")
        is_mine = written.sender == self._owner and not is_system
        sent_at = self._in_zone(written.time)
        message = SyncedMessage(
            imessage_guid=self._guid(written, content.text, equals),
            sender_id=OWNER if is_mine else self._sender(written),
            direction="outgoing" if is_mine else "incoming",
            message_type="system" if is_system else "attachment" if content.text is None and content.attachment else "text",
            sent_at=sent_at,
            text=content.text,
            edited_at=sent_at if content.is_edited else None,
            retracted_at=sent_at if content.is_deleted else None,
            attachments=[content.attachment] if content.attachment else None,
        )
        problem = problem_of(message)
        return LeftOut(row, problem, is_damaged=True) if problem else Item(row, self.thread, message)

    def _sender(self, written: _Written) -> str:
        """Lines of the system are nobody's: they are told as the other's, or as the group's."""
        if written.sender is not None and written.sender != self._owner:
            return written.sender
        return self.thread.participant_ids[0] if self.thread.participant_ids else "WhatsApp"

    def _guid(self, written: _Written, text: str | None, equals: Counter[bytes]) -> str:
        """The same for the same message in each export of the chat; of equal messages in one minute each has its number."""
        parts = (self.thread.identifier, str(written.time), written.sender or "", text or "")
        digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=16).digest()
        equals[digest] += 1
        return f"whatsapp:{digest.hex()}:{equals[digest]}"

    def _in_zone(self, time: datetime) -> datetime:
        if time.year == MAXYEAR:  # in UTC it may be later than there are times; it is refused as it is
            return time.replace(tzinfo=UTC)
        return (time.replace(tzinfo=self._time_zone) if self._time_zone is not None else time.astimezone()).astimezone(UTC)

    def _who_is_owner(self, senders: list[str], owner: str | None) -> str | None:
        if owner is not None:
            if owner not in senders:
                raise ImportFailure(f"Nobody is called {owner!r} in {self.path.name}; there are: {', '.join(senders)}")
            return owner
        name = _name_of(self.path)
        if len(senders) <= 2 and name in senders:
            return next((each for each in senders if each != name), None)
        raise ImportFailure(f"Say who you are in {self.path.name}: --owner NAME, which is one of: {', '.join(senders)}")

    def _order_of_dates(self) -> DateOrder:
        with _lines(self.path) as lines:
            orders = date_orders(found for line in lines if (found := header(line)) is not None)
        if not orders:
            raise UnreadableSource(f"{self.path.name} is no export of WhatsApp: no line begins with a date, a time and a name")
        if len(orders) > 1:
            raise ImportFailure(f"No date in {self.path.name} tells day and month apart: say --date-order dmy (31/12) or mdy (12/31)")
        return orders.pop()

    def _written(self) -> Iterator[_Written]:
        """The messages with all their lines: a line that begins no message belongs to the one above."""
        current: _Written | None = None
        more: list[str] = []
        with _lines(self.path) as lines:
            for number, line in enumerate(lines, start=1):
                begin = header(line)
                if begin is not None and (begin.time(self._order) is not None or current is None):
                    if current is not None:
                        yield _joined(current, more)
                    sender, text = _sender_and_text(begin.rest)
                    current, more = _Written(number, begin.time(self._order), sender, text), []
                elif current is not None and len(more) < _MOST_LINES:
                    more.append(line)
        if current is not None:
            yield _joined(current, more)


def is_whatsapp(path: Path) -> bool:
    """Whether it looks like an export: by its first lines, not by its name."""
    try:
        with _lines(path) as lines:
            return any(header(line) is not None for _, line in zip(range(20), lines, strict=False))
    except (UnreadableSource, UnicodeDecodeError):
        return False


def _joined(written: _Written, more: list[str]) -> _Written:
    return _Written(written.line, written.time, written.sender, "\n".join([written.text, *more]).rstrip("\n")) if more else written


def _sender_and_text(rest: str) -> tuple[str | None, str]:
    """Whoever wrote a line, and what; nobody, of the system's own."""
    name, colon, text = rest.partition(": ")
    if not colon and rest.endswith(":"):
        name, colon, text = rest[:-1], ":", ""
    sender = without_marks(name).removeprefix("~").strip(" \u202f\u00a0")
    if not colon or not is_handle(sender) or len(sender) > 100 or _QUOTES & set(sender):
        return None, without_marks(rest)
    return sender, text


def _thread(name: str, others: list[str]) -> Thread:
    is_group = len(others) > 1 or (len(others) == 1 and others[0] != name)
    identifier = f"WhatsApp;{'+' if is_group else '-'};{name}"[:500]
    return Thread(identifier=identifier, display_name=name, is_group=is_group, participant_ids=tuple(others) or (name,))


def _name_of(path: Path) -> str | None:
    """The chat's name, as WhatsApp puts it into the name of the file; several copies are `… (1)`."""
    match = _NAME_OF_FILE.search(path.stem)
    return re.sub(r" ?\(\d+\)$", "", match["name"]).strip() if match else None


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[str]]:
    """The lines of the text, wherever it lies; bytes that are no UTF-8 stay recognisable."""
    try:
        with path.open("rb") as file:
            if file.read(len(_ZIP)) != _ZIP:
                file.seek(0)
                yield _decoded(file)
                return
            with zipfile.ZipFile(path) as archive, archive.open(_text_of(archive)) as text:
                yield _decoded(text)
    except (OSError, zipfile.BadZipFile, RuntimeError) as error:
        raise UnreadableSource(f"{path} cannot be read: {error}") from error


def _decoded(file: IO[bytes]) -> Iterator[str]:
    with io.TextIOWrapper(file, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as text:
        for line in text:
            yield line.rstrip("\r\n")


def _text_of(archive: zipfile.ZipFile) -> str:
    texts = [name for name in archive.namelist() if name.endswith(".txt") and "/" not in name]
    chosen = [name for name in texts if name == "_chat.txt" or "whatsapp" in name.lower()] or texts
    if len(chosen) != 1:
        raise UnreadableSource(f"{archive.filename} is no export of WhatsApp: it has {len(chosen) or 'no'} texts that might be the chat")
    return chosen[0]


def _sizes(path: Path) -> dict[str, int]:
    """The sizes of the files beside the text."""
    if not zipfile.is_zipfile(path):
        return {}
    with zipfile.ZipFile(path) as archive:
        return {info.filename: info.file_size for info in archive.infolist()}
