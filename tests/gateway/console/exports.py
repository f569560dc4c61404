"""Made-up exports of WhatsApp and Telegram, and what the two importers make of them."""

import base64
import io
import json
import random
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec
from assistant_client.importers.failures import ImportFailure
from assistant_client.importers.items import LeftOut
from assistant_client.importers.sending import Sender
from assistant_client.importers.sources import Said, opened_source
from assistant_client.models import ContactCard, MessageBatch, SyncedContacts, SyncedMessages
from playwright.sync_api import Page

from tests.clients.importers.test_telegram import account, chat, row

ZONE = "Europe/Berlin"
LRM, NARROW = "\u200e", "\u202f"
ME, SAM, KIM = "user22", "user11", "user33"


@dataclass(frozen=True, kw_only=True)
class Export:
    """A file, and what the owner says of it."""

    name: str
    content: bytes
    owner: str | None = None
    order: Literal["dmy", "mdy", "ymd"] | None = None


@dataclass(frozen=True)
class Outcome:
    """What an importer sends, in bodies, and what it leaves out; or nothing, and that it asks or refuses."""

    bodies: list[dict[str, Any]] = field(default_factory=list)
    left_out: list[tuple[str, str, bool]] = field(default_factory=list)
    refused: bool = False


class Recorder:
    """A destination that keeps the bodies."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []

    def sync_messages(self, batch: MessageBatch) -> SyncedMessages:
        self.bodies.append(msgspec.json.decode(msgspec.json.encode(batch)))
        return SyncedMessages(conversation_id=UUID(int=0), created=0, updated=0, unchanged=0, messages=[])

    def sync_contacts(self, cards: Sequence[ContactCard], default_region: str | None = None) -> SyncedContacts:
        self.bodies.append({"contacts": msgspec.json.decode(msgspec.json.encode(cards))})
        return SyncedContacts(created=0, updated=0, unchanged=0, contacts=[], results=[])

    def sync_state(self) -> Any:
        raise AssertionError("nothing is resumed")


def read_by_python(export: Export, folder: Path) -> Outcome:
    """What `assistant import` makes of it."""
    path = folder / export.name
    path.write_bytes(export.content)
    recorder = Recorder()
    left_out: list[LeftOut] = []
    try:
        source = opened_source(path, Said(owner=export.owner, date_order=export.order, time_zone=ZoneInfo(ZONE)))
    except ImportFailure:
        return Outcome(refused=True)
    finally:
        path.unlink()
    path.write_bytes(export.content)
    sender = Sender(recorder)
    sender.send_contacts(source.contacts())
    progress = sender.resumed(source, None)
    for window in source.windows(0):
        left_out += window.left_out
        sender.send_window(window, progress)
    path.unlink()
    return Outcome(recorder.bodies, [(each.row, each.reason, each.is_damaged) for each in left_out])


_READ = """async (exports) => {
  const { openSource } = await import("/console/importers/sources.js");
  const { requestsOf } = await import("/console/importers/batches.js");
  const { Question, Unreadable } = await import("/console/importers/items.js");
  const outcomes = [];
  for (const { name, content, said } of exports) {
    const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
    try {
      const source = await openSource(new File([bytes], name), said);
      const leftOut = [...source.windows()].flatMap((window) => window.leftOut.map((each) => [each.row, each.reason, each.isDamaged]));
      outcomes.push({ bodies: [...requestsOf(source)].map(({ body }) => body), leftOut });
    } catch (error) {
      if (!(error instanceof Question) && !(error instanceof Unreadable)) throw error;
      outcomes.push(null);
    }
  }
  return JSON.stringify(outcomes);
}"""


def read_by_browser(page: Page, exports: list[Export]) -> list[Outcome]:
    """What the console's modules make of them."""
    sent = [
        {
            "name": each.name,
            "content": base64.b64encode(each.content).decode(),
            "said": {name: value for name, value in (("owner", each.owner), ("order", each.order)) if value},
        }
        for each in exports
    ]
    outcomes = json.loads(page.evaluate(_READ, sent))
    return [Outcome(each["bodies"], [tuple(row) for row in each["leftOut"]]) if each else Outcome(refused=True) for each in outcomes]


def text(*lines: str, name: str = "WhatsApp Chat with Sam.txt", **said: Any) -> Export:
    return Export(name=name, content=("\n".join(lines) + "\n").encode(), **said)


def zipped(name: str, files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED, **said: Any) -> Export:
    return Export(name=name, content=zip_of(files, method), **said)


def zip_of(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for each, data in files.items():
            archive.writestr(each, data)
    return content.getvalue()


def telegram(export: dict[str, Any], **said: Any) -> Export:
    return Export(name="result.json", content=json.dumps(export, ensure_ascii=False, indent=1).encode(), **said)


def generated(number: int) -> Export:
    """An export of either kind, another one for each number: of pieces that exports have, and of such that they should not have."""
    dice = random.Random(number)
    return _generated_telegram(dice) if number % 3 == 0 else _generated_whatsapp(dice)


_PIECES = (
    "hello", " ", "at eight: sharp", "🎉", "👩‍👩‍👧", "null", "<Media omitted>", f"{LRM}image omitted", f"{LRM}<attached: a.JPG>",
    "menu.pdf (file attached)", f"menu.pdf • {LRM}2 pages {LRM}<attached: 1-menu.pdf>", f"{LRM}Missed voice call",
    "You deleted this message", f"{LRM}This message was deleted.",
    f" {LRM}<This message was edited>", "\u2028", "\u0085", "\r", "\x1c", "\0", "ﬁ", "İ", "“quoted”", "~", "٣", "Bu mesaj silindi",
    "<Medien ausgeschlossen>", "\ufeff", "\u202f", "https://example.com/a_b?c=d#e",
)  # fmt: skip
_SENDERS = ("Sam", "Alex", "~\u202fKim", "\u202a+1 415 555-0100\u202c", "Sam: Doe", "a“b", "", "x" * 101, "Zoë 🎈")
_STYLES = (
    "{day:02}.{month:02}.{year2:02}, {hour:02}:{minute:02} - ", "{month}/{day}/{year2:02}, {hour12}:{minute:02}\u202f{half} - ",
    "[{day:02}/{month:02}/{year}, {hour:02}:{minute:02}:{second:02}] ",
    "\u200e[{month}/{day}/{year2:02}, {hour12}:{minute:02}:{second:02}\u202f{half}] ",
    "{year}-{month:02}-{day:02}, {hour:02}:{minute:02} - ", "{day}/{month}/{year}, {hour12}:{minute:02} {half1}. m. - ",
    "{year}. {month:02}. {day:02}. {hour}:{minute:02} - ",
)  # fmt: skip


def _words(dice: random.Random) -> str:
    return "".join(dice.choice(_PIECES) for _ in range(dice.randint(0, 3)))


def _generated_whatsapp(dice: random.Random) -> Export:
    style = dice.choice(_STYLES)
    people = ["Sam", "Alex", *dice.sample(_SENDERS, dice.randint(0, 3))]
    lines = []
    day = dice.randint(1, 28)
    for _ in range(dice.randint(1, 25)):
        day = min(31, day + dice.choice((0, 0, 0, 1)))
        hour = dice.randint(0, 24 if dice.random() < 0.05 else 23)
        when = {
            "day": day, "month": dice.choice((2, 3, 10)), "year": 2023, "year2": 23, "hour": hour, "hour12": hour % 12 or 12,
            "minute": dice.randint(0, 59), "second": dice.randint(0, 59), "half": "PM" if hour > 11 else "AM",
            "half1": "p" if hour > 11 else "a",
        }  # fmt: skip
        begin = style.format(**when)
        lines.append(f"{begin}{dice.choice(people)}: {_words(dice)}" if dice.random() < 0.85 else dice.choice((begin, "")) + _words(dice))
    content = dice.choice(("\n", "\r\n")).join([*lines, ""]).encode()
    if dice.random() < 0.15:
        place = dice.randrange(len(content))
        content = content[:place] + bytes([dice.choice((0xFF, 0xC3, 0xE2))]) + content[place:]
    said: dict[str, Any] = {"order": dice.choice(("dmy", "mdy"))} if dice.random() < 0.5 else {}
    if dice.random() < 0.6:
        said["owner"] = dice.choice(("Alex", "Sam"))
    if dice.random() < 0.2:
        return zipped("WhatsApp Chat - Climbing (1).zip", {"_chat.txt": content, "a.JPG": b"12345", "menu.pdf": b""}, **said)
    return Export(name=dice.choice(("WhatsApp Chat with Sam.txt", "WhatsApp-Chat mit Zoë 🎈.txt", "_chat.txt")), content=content, **said)


def _generated_telegram(dice: random.Random) -> Export:
    odd: tuple[Any, ...] = (None, 0, 17, "", "x", [], {}, [1], {"a": 1}, True)

    def one(number: int) -> dict[str, Any]:
        made = row(number, dice.choice((SAM, ME, KIM)), dice.choice((_words(dice), [_words(dice), {"type": "bold", "text": _words(dice)}])))
        optional: dict[str, Any] = {
            "edited_unixtime": "1700009999", "reply_to_message_id": 1, "forwarded_from": "Somebody", "photo": "photos/a.jpg",
            "photo_file_size": 5, "file": "(File not included.)", "file_name": "menu.pdf", "mime_type": "application/pdf",
            "location_information": {"latitude": 1}, "poll": {}, "reactions": [
                {"type": "emoji", "emoji": "👍", "count": 1, "recent": [{"from_id": ME, "date": "2023-11-15T10:00:00"}, {"from_id": SAM}]}
            ], "media_type": "sticker", "reply_to_peer_id": "channel5",
        }  # fmt: skip
        for name in dice.sample(list(optional), dice.randint(0, 4)):
            made[name] = optional[name]
        if dice.random() < 0.15:
            made |= {"type": "service", "action": "invite_members", "members": ["Kim", None, "Sam"], "actor_id": SAM}
        if dice.random() < 0.1:
            made.pop("date_unixtime")
        if dice.random() < 0.15:
            made[dice.choice(list(made))] = dice.choice(odd)
        return made

    kinds = ("personal_chat", "private_group", "bot_chat", "saved_messages", "public_channel", "constructor")
    chats = [
        chat(*map(one, range(dice.randint(0, 12))), kind=dice.choice(kinds), number=11 + number, name=dice.choice(("Sam", "", "Zoë 🎈")))
        for number in range(dice.randint(1, 3))
    ]
    if dice.random() < 0.5:
        return telegram(chats[0], owner=dice.choice(("Alex", "Kim", None)))
    return telegram(account(*chats, contacts=[{"user_id": 11, "first_name": "Sam", "phone_number": "+14155550100"}, {"phone_number": "1"}]))
