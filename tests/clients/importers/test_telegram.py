"""Telegram's `result.json`."""

import json
from pathlib import Path
from typing import Any

import pytest
from assistant_client.importers.failures import ImportFailure, UnreadableSource

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import imported_file, read

SAM, ME, KIM = "user11", "user22", "user33"
NAMES = {SAM: "Sam Doe", ME: "Alex", KIM: "Kim"}


def row(number: int, sender: str, text: Any, **fields: Any) -> dict[str, Any]:
    unix = str(1_700_000_000 + number * 60)
    return {
        "id": number, "type": "message", "date": "2023-11-14T22:13:20", "date_unixtime": unix, "from": NAMES[sender], "from_id": sender,
        "text": text, "text_entities": [], **fields,
    }  # fmt: skip


def chat(*rows: dict[str, Any], kind: str = "personal_chat", number: int = 11, name: str = "Sam Doe") -> dict[str, Any]:
    return {"name": name, "type": kind, "id": number, "messages": list(rows)}


def account(*chats: dict[str, Any], contacts: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "about": "Here is the data you requested.",
        "personal_information": {"user_id": 22, "first_name": "Alex", "phone_number": "+1 415 555 0199"},
        "contacts": {"about": "", "list": contacts or []},
        "chats": {"about": "", "list": list(chats)},
        "left_chats": {"about": "", "list": []},
    }


def written(folder: Path, export: dict[str, Any]) -> Path:
    path = folder / "result.json"
    path.write_text(json.dumps(export, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


def test_a_chat_of_two_arrives_as_it_was_written(tmp_path: Path, destination: GatewayDestination) -> None:
    link = {"type": "link", "text": "https://example.com"}
    path = written(
        tmp_path,
        chat(
            row(1, SAM, "Dinner on Saturday?"),
            row(2, ME, ["see ", link, " 🎉"], reply_to_message_id=1),
            row(3, SAM, "at eight", edited_unixtime="1700000500"),
        ),
    )

    imported_file(path, destination)

    asked, answered, edited = destination.messages("Telegram;-;telegram:user11")
    assert [each["direction"] for each in (asked, answered)] == ["incoming", "outgoing"]
    assert (asked["senderName"], asked["sentAt"]) == ("Sam Doe", "2023-11-14T22:14:20Z")
    assert (answered["text"], answered["replyToGuid"]) == ("see https://example.com 🎉", asked["imessageGuid"])
    assert edited["editedAt"] == "2023-11-14T22:21:40Z"


def test_reactions_come_with_whose_they_are(tmp_path: Path, destination: GatewayDestination) -> None:
    by_me = {"type": "emoji", "count": 1, "emoji": "👍", "recent": [{"from": "Alex", "from_id": ME, "date": "2023-11-15T10:00:00"}]}
    unknown = {"type": "emoji", "count": 7, "emoji": "🔥"}
    imported_file(written(tmp_path, chat(row(1, SAM, "we won", reactions=[by_me, unknown]), row(2, ME, "yes"))), destination)

    won = destination.messages("Telegram;-;telegram:user11")[0]

    assert [(each["type"], each["direction"]) for each in won["reactions"]] == [("👍", "outgoing")]


def test_files_forwarded_words_and_events(tmp_path: Path, destination: GatewayDestination) -> None:
    path = written(
        tmp_path,
        chat(
            row(1, SAM, "", photo="photos/photo_1.jpg", photo_file_size=77),
            row(2, SAM, "the menu", file="(File not included.)", file_name="menu.pdf", mime_type="application/pdf"),
            row(3, ME, "words of a stranger", forwarded_from="Somebody"),
            row(4, SAM, "news", forwarded_from="Somebody"),
            {"id": 5, "type": "service", "date_unixtime": "1700000300", "actor_id": SAM, "action": "phone_call", "text": ""},
            row(6, SAM, "", location_information={"latitude": 1.0, "longitude": 2.0}),
        ),
    )  # fmt: skip

    summary = imported_file(path, destination)

    photo, menu, mine, theirs, call = destination.messages("Telegram;-;telegram:user11")
    assert [(each["filename"], each["mimeType"], each["byteSize"]) for each in photo["attachments"]] == [("photo_1.jpg", "image/jpeg", 77)]
    assert (menu["text"], menu["attachments"][0]["filename"]) == ("the menu", "menu.pdf")
    assert (mine["messageType"], theirs["messageType"]) == ("system", "text")
    assert (call["messageType"], call["text"]) == ("system", "phone call")
    assert dict(summary.left_out) == {"place, contact, poll or game": 1}


def test_a_whole_account_comes_with_its_contacts(tmp_path: Path, destination: GatewayDestination) -> None:
    path = written(
        tmp_path,
        account(
            chat(row(1, SAM, "hi"), row(2, ME, "hello")),
            chat(row(3, KIM, "climbing?"), row(4, ME, "yes"), kind="private_supergroup", number=99, name="Climbing"),
            chat(row(5, ME, "remember"), kind="saved_messages", number=22),
            chat(row(6, SAM, "beep"), kind="bot_chat", number=55),
            contacts=[{"user_id": 11, "first_name": "Sam", "last_name": "Doe", "phone_number": "+14155550100"}],
        ),
    )

    summary = imported_file(path, destination)

    group = destination.thread("Telegram;+;telegram:99")
    assert (group["isGroup"], group["displayName"]) == (True, "Climbing")
    assert [each["direction"] for each in destination.messages("Telegram;+;telegram:99")] == ["incoming", "outgoing"]
    assert destination.messages("Telegram;-;telegram:user11")[0]["senderName"] == "Sam Doe"
    assert dict(summary.left_out) == {"note to oneself": 1, "chat with a program": 1}
    assert summary.contacts.created == 2


def test_a_later_export_duplicates_nothing_and_brings_edits(tmp_path: Path, destination: GatewayDestination) -> None:
    imported_file(written(tmp_path, chat(row(1, SAM, "at six"), row(2, ME, "ok"))), destination)
    later = chat(row(1, SAM, "at seven", edited_unixtime="1700000900"), row(2, ME, "ok"), row(3, SAM, "fine"))

    summary = imported_file(written(tmp_path, later), destination)

    assert (summary.messages.created, summary.messages.updated, summary.messages.unchanged) == (1, 1, 1)
    assert destination.texts("Telegram;-;telegram:user11") == ["at seven", "ok", "fine"]


def test_a_single_group_asks_who_the_owner_is(tmp_path: Path) -> None:
    path = written(tmp_path, chat(row(1, KIM, "hi"), row(2, ME, "hello"), kind="private_group", number=99))

    with pytest.raises(ImportFailure, match="--owner NAME, which is one of: Alex, Kim"):
        read(path)
    items, _ = read(path, owner="Alex")

    assert [item.message.direction for item in items] == ["incoming", "outgoing"]


def test_damaged_rows_are_named_and_passed_over(tmp_path: Path) -> None:
    rows = [
        row(1, SAM, "before"),
        {**row(2, SAM, "x"), "id": "two"},
        {**row(3, SAM, "x"), "date_unixtime": "yesterday"},
        row(4, SAM, 17),
        row(5, SAM, "x" * 100_001),
        {**row(6, SAM, "x"), "from_id": None},
        row(7, ME, "after"),
    ]

    items, left_out = read(written(tmp_path, chat(*rows)))

    assert [item.message.text for item in items] == ["before", "after"]
    assert [each.row for each in left_out if each.is_damaged] == [
        "row 1 of chat 11", "message 3 of chat 11", "row 3 of chat 11", "message 5 of chat 11", "message 6 of chat 11",
    ]  # fmt: skip


def test_an_export_that_was_cut_off_is_said_so(tmp_path: Path) -> None:
    path = written(tmp_path, chat(row(1, SAM, "secret words")))
    path.write_bytes(path.read_bytes()[:-20])

    with pytest.raises(UnreadableSource, match="cut off") as refusal:
        read(path)

    assert "secret" not in str(refusal.value)
