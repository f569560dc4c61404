"""The console reads exports as `assistant import` does: it does not matter which of the two brings in a chat, or if both do."""

import zipfile
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.clients.importers.test_telegram import account, chat, row
from tests.fixtures.browser import Chromium
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.console import exports
from tests.gateway.console.exports import KIM, LRM, ME, NARROW, SAM, Export, telegram, text, zipped

STYLES = [
    ("31.12.23, 21:41 - ", "01.01.24, 09:05 - "),
    (f"12/31/23, 9:41{NARROW}PM - ", f"1/1/24, 9:05{NARROW}AM - "),
    ("[31.12.23, 21:41:00] ", "[01.01.24, 09:05:00] "),
    (f"{LRM}[12/31/23, 9:41:00{NARROW}PM] ", f"[1/1/24, 9:05:00{NARROW}AM] "),
    ("31/12/2023, 21:41 - ", "01/01/2024, 09:05 - "),
    ("31/12/2023, 9:41 p. m. - ", "1/1/2024, 9:05 a. m. - "),
    ("2023-12-31, 21:41 - ", "2024-01-01, 09:05 - "),
    ("[2023-12-31 21:41:00] ", "[2024-01-01 09:05:00] "),
    ("31/12/23 21.41 - ", "01/01/24 09.05 - "),
    ("\u200f31/12/2023، 21:41 - ", "\u200f01/01/2024، 09:05 - "),
    ("\u200f٣١/١٢/٢٠٢٣، ٢١:٤١ - ", "\u200f٠١/٠١/٢٠٢٤، ٠٩:٠٥ - "),  # noqa: RUF001
    ("2023. 12. 31. 21:41 - ", "2024. 01. 01. 9:05 - "),
]
"""How phones write dates, in the year that ends and in the one that begins."""

MEDIA = [
    "31.12.23, 21:40 - Messages and calls are end-to-end encrypted. Tap to learn more.",
    "31.12.23, 21:41 - Sam changed the group name from “a: b” to “c”",
    f"31.12.23, 21:42 - Sam: {LRM}Missed voice call",
    "31.12.23, 21:41 - Sam: <Media omitted>",
    f"31.12.23, 21:42 - Sam: {LRM}IMG-20231231-WA0001.jpg (file attached)",
    "look at this",
    f"31.12.23, 21:43 - Sam: {LRM}Bild weggelassen",
    f"31.12.23, 21:44 - Alex: {LRM}<attached: 00000012-PHOTO-2023-12-31-21-41-05.HEIC>",
    f"31.12.23, 21:44 - Alex: menu.pdf • {LRM}2 pages {LRM}<attached: 00000013-menu.pdf>",
    f"31.12.23, 21:45 - Alex: at eight {LRM}<This message was edited>",
    "31.12.23, 21:46 - Alex: You deleted this message",
    f"31.12.23, 21:47 - Sam: {LRM}Diese Nachricht wurde gelöscht.",
    "31.12.23, 21:48 - Sam: null",
    "31.12.23, 21:49 - Sam: <Medien ausgeschlossen>",
    "31.12.23, 21:49 - Alex: ok",
    "31.12.23, 21:49 - Alex: ok",
    "26.03.23, 02:30 - Alex: an hour that there was not",
    "29.10.23, 02:30 - Alex: an hour that there was twice",
    f"31.12.23, 21:50 - Alex: {'x' * 100_001}",
    "31.12.23, 21:51 - Sam: " + "🎉" * 60_000,
    "31.12.30, 21:51 - Sam:",
]
CROWD = [f"[31.12.23, 21:41:{number % 60:02}] {('Sam', 'Kim', 'Alex')[number % 3]}: message {number}" for number in range(2_500)]
SAMS, SAMS_ZIP, CLIMBING = "WhatsApp Chat with Sam.txt", "WhatsApp Chat with Sam.zip", "WhatsApp Chat - Climbing.txt"
CHAT = "\n".join(MEDIA).encode()
WITH_PHOTO = "\r\n".join([*CROWD, f"[31.12.23, 22:00:00] Sam: {LRM}<attached: a.jpg>"]).encode()

WHATSAPP: dict[str, Export] = {
    **{f"style {number}": text(f"{begin}Sam: see you", f"{later}Alex: hi") for number, (begin, later) in enumerate(STYLES)},
    "order by the whole file": text("1/2/24, 10:00 - Sam: a", "1/3/24, 10:00 - Alex: b", "2/1/24, 10:00 - Sam: c"),
    "order not said": text("3/4/24, 10:00 - Sam: a", "4/5/24, 10:00 - Alex: b"),
    "order said": text("3/4/24, 10:00 - Sam: a", "4/5/24, 10:00 - Alex: b", order="mdy"),
    "lines that belong above": text(
        "31.12.23, 21:41 - Sam: first", "", "12/31 is the day: yes", "99.99.23, 21:41 - Sam: no", "", order="dmy"
    ),
    "media, edits, deletions": text(*MEDIA),
    "damaged line": Export(name=SAMS, content=b"31.12.23, 21:41 - Sam: a\n31.12.23, 21:42 - Sam: \xff\xfe\n31.12.23, 21:43 - Alex: b"),
    "byte order mark": Export(name=SAMS, content=b"\xef\xbb\xbf31.12.23, 21:41 - Sam: a\r\n31.12.23, 21:43 - Alex: b\r\n"),
    "group, owner not said": text(*CROWD, name=CLIMBING),
    "group, owner said": text(*CROWD, name="WhatsApp Chat - Climbing (3).txt", owner="Alex"),
    "group, nobody of this name": text(*CROWD, name=CLIMBING, owner="Al"),
    "chat without a name": text(*CROWD, name="_chat.txt", owner="Alex"),
    "two without a name": text("31.12.23, 21:41 - Sam: a", "31.12.23, 21:41 - Alex: b", name="_chat.txt", owner="Alex"),
    "number": text("31.12.23, 21:41 - \u202a+1 415 555-0100\u202c: hi", name="WhatsApp Chat with +1 415 555-0100.txt"),
    "no export": text("Dear diary,"),
    "empty": Export(name="a.txt", content=b""),
    "zip": zipped("WhatsApp Chat - Climbing (2).zip", {"_chat.txt": WITH_PHOTO, "a.jpg": b"12345"}, owner="Kim"),
    "zip, not compressed": zipped(SAMS_ZIP, {SAMS: CHAT}, zipfile.ZIP_STORED),
    "zip, of names in another alphabet": zipped(SAMS_ZIP, {"WhatsApp Chat с Sam.txt": CHAT, "ä.jpg": b"1"}),  # noqa: RUF001
    "zip without a chat": zipped("a.zip", {"a.jpg": b"1"}),
    "zip with two texts": zipped("a.zip", {"a.txt": b"1", "b.txt": b"2"}),
    "zip cut off": Export(name="a.zip", content=exports.zip_of({"_chat.txt": CHAT})[:300]),
    "zip behind something": Export(name=SAMS_ZIP, content=b"PK\x03\x04 and more" + exports.zip_of({"_chat.txt": CHAT})),
    "zip with a wrong byte": Export(name=SAMS_ZIP, content=exports.zip_of({SAMS: CHAT}, zipfile.ZIP_STORED).replace(b"look", b"lock")),
}

BY_ME = {"type": "emoji", "count": 1, "emoji": "👍", "recent": [{"from": "Alex", "from_id": ME, "date": "2023-11-15T10:00:00"}]}
ROWS = [
    row(1, SAM, "Dinner on Saturday?", reactions=[BY_ME, {"type": "emoji", "count": 7, "emoji": "🔥"}]),
    row(2, ME, ["see ", {"type": "link", "text": "https://example.com"}, " 🎉"], reply_to_message_id=1),
    row(3, SAM, "at eight", edited_unixtime="1700000500"),
    row(4, SAM, "", photo="photos/photo_1.jpg", photo_file_size=77),
    row(5, SAM, "the menu", file="(File not included.)", file_name="menu.pdf", mime_type="application/pdf"),
    row(6, ME, "words of a stranger", forwarded_from="Somebody"),
    row(7, SAM, "", location_information={"latitude": 1.0}),
    {"id": 8, "type": "service", "date_unixtime": "1700000300", "actor_id": SAM, "action": "phone_call", "text": ""},
]
DAMAGED = [
    row(1, SAM, "before"),
    {**row(2, SAM, "x"), "id": "two"},
    {**row(3, SAM, "x"), "date_unixtime": "yesterday"},
    row(4, SAM, 17),
    row(5, SAM, "x" * 100_001),
    {**row(6, SAM, "x"), "from_id": None},
    {**row(7, SAM, "x"), "type": "news"},
    row(8, ME, "after"),
]
TELEGRAM: dict[str, Export] = {
    "chat of two": telegram(chat(*ROWS)),
    "account": telegram(
        account(
            chat(*ROWS),
            chat(row(3, KIM, "climbing?"), row(4, ME, "yes"), kind="private_supergroup", number=99, name="Climbing"),
            chat(row(5, ME, "remember"), kind="saved_messages", number=22),
            chat(row(6, SAM, "beep"), kind="bot_chat", number=55),
            contacts=[{"user_id": 11, "first_name": "Sam", "last_name": "Doe", "phone_number": "+14155550100"}, {"first_name": "Kim"}],
        )
    ),
    "group, owner not said": telegram(chat(row(1, KIM, "hi"), row(2, ME, "hello"), kind="private_group", number=99)),
    "group, owner said": telegram(chat(row(1, KIM, "hi"), row(2, ME, "hello"), kind="private_group", number=99), owner="Alex"),
    "many rows": telegram(chat(*[row(number, (SAM, ME)[number % 2], f"message {number}", reactions=[BY_ME]) for number in range(2_100)])),
    "damaged rows": telegram(chat(*DAMAGED)),
    "long texts": telegram(chat(*[row(number, SAM, "🎉" * 20_000) for number in range(120)])),
    "times without a zone": telegram(chat({**row(1, SAM, "x"), "date_unixtime": None, "date": "2023-10-29T02:30:00"}, row(2, ME, "y"))),
    "cut off": Export(name="result.json", content=telegram(chat(*ROWS)).content[:-20]),
    "no UTF-8": Export(name="result.json", content=telegram(chat(*ROWS)).content.replace(b"at eight", b"at \xff\xfe")),
    "something else": Export(name="result.json", content=b'{"about": 1}'),
}


@pytest.fixture
def page(chromium: Chromium, gateway: GatewayProcess) -> Page:
    return chromium.open(gateway.url, time_zone=exports.ZONE)


@pytest.mark.parametrize("cases", [WHATSAPP, TELEGRAM], ids=["whatsapp", "telegram"])
def test_exports_are_read_as_the_command_reads_them(page: Page, tmp_path: Path, cases: dict[str, Export]) -> None:
    read = exports.read_by_browser(page, list(cases.values()))

    for (name, export), outcome in zip(cases.items(), read, strict=True):
        assert outcome == exports.read_by_python(export, tmp_path), name
    assert sum(len(outcome.bodies) for outcome in read) > len(cases) / 2
    assert any(outcome.left_out for outcome in read)


def test_so_are_hundreds_of_made_up_ones(page: Page, tmp_path: Path) -> None:
    made = [exports.generated(number) for number in range(600)]

    read = exports.read_by_browser(page, made)

    for number, outcome in enumerate(read):
        assert outcome == exports.read_by_python(made[number], tmp_path), number
    assert sum(not outcome.refused for outcome in read) > 300
