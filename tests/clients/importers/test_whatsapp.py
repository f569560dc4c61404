"""WhatsApp's export in the forms that phones write it."""

import zipfile
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from assistant_client.importers.failures import ImportFailure, UnreadableSource
from assistant_client.importers.items import Item

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import imported_file, read

CHAT = "WhatsApp Chat with Sam.txt"
LRM, NARROW = "\u200e", "\u202f"


def written(folder: Path, *lines: str, name: str = CHAT) -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def texts(items: list[Item]) -> list[str | None]:
    return [item.message.text for item in items]


@pytest.mark.parametrize(
    ("begin", "later"),
    [
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
        ("2023. 12. 31. 21:41 - ", "2024. 01. 01. 9:05 - "),
    ],
)
def test_dates_of_all_styles_are_read(tmp_path: Path, begin: str, later: str) -> None:
    path = written(tmp_path, f"{begin}Sam: see you", f"{later}Alex: happy new year")

    items, left_out = read(path, time_zone=ZoneInfo("Europe/Berlin"))

    assert [item.message.sent_at for item in items] == [datetime(2023, 12, 31, 20, 41, tzinfo=UTC), datetime(2024, 1, 1, 8, 5, tzinfo=UTC)]
    assert texts(items) == ["see you", "happy new year"]
    assert [item.message.direction for item in items] == ["incoming", "outgoing"]
    assert left_out == []


def test_day_and_month_are_told_apart_by_the_whole_file(tmp_path: Path) -> None:
    """Only with the month first is no message before the one above it."""
    path = written(tmp_path, "1/2/24, 10:00 - Sam: a", "1/3/24, 10:00 - Alex: b", "2/1/24, 10:00 - Sam: c")

    items, _ = read(path, time_zone=UTC)

    assert [item.message.sent_at.date().isoformat() for item in items] == ["2024-01-02", "2024-01-03", "2024-02-01"]


def test_where_no_date_tells_the_order_it_has_to_be_said(tmp_path: Path) -> None:
    path = written(tmp_path, "3/4/24, 10:00 - Sam: a", "4/5/24, 10:00 - Alex: b")

    with pytest.raises(ImportFailure, match="--date-order dmy"):
        read(path)
    items, _ = read(path, date_order="mdy", time_zone=UTC)

    assert [item.message.sent_at.month for item in items] == [3, 4]


def test_lines_that_begin_no_message_belong_to_the_one_above(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "31.12.23, 21:41 - Sam: first",
        "",
        "12/31 is the day: yes",
        "99.99.23, 21:41 - Sam: no such day",
        "31.12.23, 21:42 - Alex: with\u2028a separator",
    )

    items, _ = read(path)

    assert texts(items) == ["first\n\n12/31 is the day: yes\n99.99.23, 21:41 - Sam: no such day", "with\u2028a separator"]


def test_what_whatsapp_writes_itself_is_nobodys_words(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "31.12.23, 21:40 - Messages and calls are end-to-end encrypted. Tap to learn more.",
        "31.12.23, 21:41 - Sam changed the group name from “a: b” to “c”",
        f"31.12.23, 21:42 - Sam: {LRM}Missed voice call",
        "31.12.23, 21:43 - Sam: hello: there",
        "31.12.23, 21:44 - Alex: hi",
    )

    items, _ = read(path)

    assert [item.message.message_type for item in items] == ["system", "system", "system", "text", "text"]
    assert items[3].message.text == "hello: there"


def test_files_edits_and_deletions_are_seen(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "31.12.23, 21:41 - Sam: <Media omitted>",
        f"31.12.23, 21:42 - Sam: {LRM}IMG-20231231-WA0001.jpg (file attached)",
        "look at this",
        f"31.12.23, 21:43 - Sam: {LRM}image omitted",
        f"31.12.23, 21:44 - Alex: {LRM}<attached: 00000012-PHOTO-2023-12-31-21-41-05.jpg>",
        f"31.12.23, 21:45 - Alex: at eight {LRM}<This message was edited>",
        "31.12.23, 21:46 - Alex: You deleted this message",
        f"31.12.23, 21:47 - Sam: {LRM}Diese Nachricht wurde gelöscht.",
        "31.12.23, 21:48 - Sam: null",
        "31.12.23, 21:49 - Sam: <Medien ausgeschlossen>",
        f"31.12.23, 21:50 - Sam: {LRM}report.pdf • {LRM}3 pages {LRM}<attached: 00000013-report.pdf>",
    )

    items, left_out = read(path)

    kinds = [item.message.message_type for item in items]
    names = [item.message.attachments[0].filename if item.message.attachments else None for item in items]
    assert kinds == ["attachment", "text", "attachment", "attachment", "text", "text", "text", "attachment", "attachment"]
    assert names[1:4] == ["IMG-20231231-WA0001.jpg", None, "00000012-PHOTO-2023-12-31-21-41-05.jpg"]
    assert texts(items)[1] == "look at this"
    assert (items[4].message.text, items[4].message.edited_at) == ("at eight", items[4].message.sent_at)
    assert [item.message.retracted_at is not None for item in items[5:7]] == [True, True]
    assert [row.row for row in left_out] == ["line 9"]


def test_a_longer_export_of_the_same_chat_adds_only_what_is_new(tmp_path: Path, destination: GatewayDestination) -> None:
    lines = ["31.12.23, 21:41 - Sam: ok", "31.12.23, 21:41 - Sam: ok", "31.12.23, 21:42 - Alex: ok"]
    first = imported_file(written(tmp_path, *lines), destination)
    second = imported_file(written(tmp_path, *lines, "01.01.24, 08:00 - Sam: ok"), destination)

    assert first.messages.created == 3
    assert (second.messages.created, second.messages.unchanged) == (1, 3)
    assert destination.texts("WhatsApp;-;Sam") == ["ok"] * 4


def test_the_chat_of_a_number_is_one_conversation_with_its_messages_elsewhere(tmp_path: Path, destination: GatewayDestination) -> None:
    name = "WhatsApp Chat with +1 415 555-0100.txt"
    imported_file(
        written(tmp_path, "31.12.23, 21:41 - \u202a+1 415 555-0100\u202c: hi", "31.12.23, 21:42 - Alex: hi", name=name), destination
    )

    (thread,) = destination.threads()

    assert [each["displayName"] for each in thread["participants"]] == ["+14155550100"]


def test_a_group_in_a_zip_asks_who_the_owner_is(tmp_path: Path, destination: GatewayDestination) -> None:
    path = tmp_path / "WhatsApp Chat - Climbing (2).zip"
    chat = "[31.12.23, 21:41:05] Sam: hi\r\n[31.12.23, 21:42:05] Kim: hello\r\n[31.12.23, 21:43:05] Alex: \u200e<attached: a.jpg>\r\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("_chat.txt", chat)
        archive.writestr("a.jpg", b"12345")

    with pytest.raises(ImportFailure, match="--owner NAME, which is one of: Sam, Kim, Alex"):
        imported_file(path, destination)
    with pytest.raises(ImportFailure, match="Nobody is called 'Al'"):
        imported_file(path, destination, owner="Al")
    imported_file(path, destination, owner="Alex")

    thread, messages = destination.thread("WhatsApp;+;Climbing"), destination.messages("WhatsApp;+;Climbing")
    assert (thread["displayName"], thread["isGroup"]) == ("Climbing", True)
    assert [each["direction"] for each in messages] == ["incoming", "incoming", "outgoing"]
    assert messages[2]["attachments"][0]["byteSize"] == 5


def test_a_damaged_line_is_named_and_passed_over(tmp_path: Path) -> None:
    path = tmp_path / CHAT
    path.write_bytes(b"31.12.23, 21:41 - Sam: before\n31.12.23, 21:42 - Sam: \xff\xfe\n31.12.23, 21:43 - Alex: after\n")

    items, left_out = read(path)

    assert texts(items) == ["before", "after"]
    assert [(row.row, row.is_damaged) for row in left_out] == [("line 2", True)]


@pytest.mark.parametrize(("name", "content"), [("a.txt", b"Dear diary,\n"), ("a.zip", b"PK\x03\x04 and no more"), ("b.txt", b"")])
def test_what_is_no_export_is_said_so(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UnreadableSource):
        read(tmp_path / name)


def test_a_date_at_the_end_of_all_times_is_passed_over(tmp_path: Path) -> None:
    path = written(tmp_path, "31/12/9999, 21:41 - Sam: Hello", "31/12/23, 21:42 - Sam: Hi")

    items, left_out = read(path, time_zone=ZoneInfo("America/New_York"), date_order="dmy")

    assert texts(items) == ["Hi"]
    assert [each.reason for each in left_out] == ["a date of another age"]
