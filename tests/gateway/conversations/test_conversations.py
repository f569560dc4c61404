"""Reading threads: lists, pages, cursors, reactions, search, deletion."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually

FILE = {"guid": "a", "mimeType": "image/png", "filename": None, "byteSize": 10}


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def get(device: Device, path: str, **query: Any) -> dict[str, Any]:
    answer = device.client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def messages_of(device: Device, conversation_id: str, **query: Any) -> dict[str, Any]:
    return get(device, f"/api/conversations/{conversation_id}/messages", **query)


def texts(page: dict[str, Any]) -> list[str]:
    return [each["text"] for each in page["messages"]]


def at(minute: int, **changes: Any) -> dict[str, Any]:
    """A message of a minute of the hour, whose text is the minute."""
    return message(**{"text": str(minute), "sentAt": f"2024-01-01T12:{minute:02}:00Z", **changes})


def add_contact(device: Device, name: str, **handles: str) -> str:
    answer = device.client.post("/api/sync/contacts", json={"contacts": [{"displayName": name, **handles}]})
    return str(answer.json()["contacts"][0]["id"])


def test_one_thread_is_as_the_list_has_it(device: Device) -> None:
    add_contact(device, "Anna", email="anna@example.com")
    synced = sync(device, [at(1)], conversationDisplayName="Dinner", participantIds=["anna@example.com"])

    (listed,) = get(device, "/api/conversations")["conversations"]

    assert get(device, f"/api/conversations/{synced['conversationId']}") == listed
    assert device.client.get(f"/api/conversations/{uuid4()}").status_code == 404


def test_lists_threads_latest_first_as_documented(device: Device) -> None:
    anna = add_contact(device, "Anna", email="anna@example.com")
    for number in range(3):
        sync(device, [at(number)], name=f"thread {number}", conversationDisplayName=f"Thread {number}")
    newest = sync(device, [at(9, text="Hi\nthere  you", senderId="anna@example.com")], name="anna", participantIds=["+14155550111"])

    page = get(device, "/api/conversations", page=1, pageSize=2)

    assert (page["total"], page["page"], page["pageSize"]) == (4, 1, 2)
    assert [each["imessageId"] for each in page["conversations"]] == ["anna", "thread 2"]
    first = page["conversations"][0]
    assert {key: value for key, value in first.items() if key != "participants"} == {
        "id": newest["conversationId"],
        "imessageId": "anna",
        "imessageIds": ["anna"],
        "displayName": "+14155550111, Anna",
        "isGroup": False,
        "messageCount": 1,
        "lastMessageAt": "2024-01-01T12:09:00Z",
        "lastMessagePreview": "Hi there you",
    }
    assert [(person["displayName"], person["contactId"]) for person in first["participants"]] == [("+14155550111", None), ("Anna", anna)]
    assert get(device, "/api/conversations", page=9, pageSize=2)["conversations"] == []


def test_finds_threads_by_name_and_by_who_is_in_them(device: Device) -> None:
    add_contact(device, "Anna Müller", email="anna@example.com")
    sync(device, [message(senderId="anna@example.com")], name="one", conversationDisplayName="Trip to 100% Rome")
    sync(device, [message()], name="two", conversationDisplayName="Work")

    def found(words: str) -> list[str]:
        return [each["imessageId"] for each in get(device, "/api/conversations", q=words)["conversations"]]

    assert found("rome") == found("MÜLLER") == found("mu\u0308ller") == found("anna@") == found("0%") == ["one"]
    assert found("o") == ["two", "one"]
    assert found("_") == found("%%") == []
    assert get(device, "/api/conversations", q="work")["total"] == 1


def test_a_long_preview_is_cut_and_a_file_shows_its_name(device: Device) -> None:
    sync(device, [at(2, text="word " * 100)], name="long")
    sync(device, [at(1, text=None, messageType="attachment", attachments=[{"filename": "cat.heic"}])], name="file")
    sync(device, [at(0, retractedAt="2024-01-01T12:30:00Z")], name="gone")

    previews = [each["lastMessagePreview"] for each in get(device, "/api/conversations")["conversations"]]

    assert previews[0].endswith("word…")
    assert len(previews[0]) <= 140
    assert previews[1:] == ["cat.heic", None]


def test_a_message_has_all_that_is_documented(device: Device) -> None:
    add_contact(device, "Anna", phoneNumber="+14155550100")
    full = at(5, replyToGuid="first", editedAt="2024-01-01T12:06:00Z", attachments=[FILE, FILE])
    answer = sync(device, [full])
    assert sync(device, [full])["unchanged"] == 1

    [found] = messages_of(device, answer["conversationId"])["messages"]

    assert found == {
        "id": answer["messages"][0]["id"],
        "imessageGuid": full["imessageGuid"],
        "senderId": "+14155550100",
        "senderName": "Anna",
        "direction": "incoming",
        "messageType": "text",
        "text": "5",
        "sentAt": "2024-01-01T12:05:00Z",
        "editedAt": "2024-01-01T12:06:00Z",
        "retractedAt": None,
        "replyToGuid": "first",
        "associatedMessageGuid": None,
        "associatedMessageType": None,
        "reactions": [],
        "attachments": [FILE, FILE],
    }


def test_pages_and_cursors_show_every_message_once_newest_first(device: Device) -> None:
    conversation = sync(device, [at(number // 3) for number in range(50)])["conversationId"]
    everything = [each["id"] for each in messages_of(device, conversation, pageSize=200)["messages"]]

    by_page = [messages_of(device, conversation, page=number, pageSize=7) for number in range(1, 9)]
    by_cursor = [messages_of(device, conversation, pageSize=7)]
    while cursor := by_cursor[-1]["nextCursor"]:
        by_cursor.append(messages_of(device, conversation, pageSize=7, before=cursor))

    assert len(everything) == len(set(everything)) == 50
    assert [each["id"] for page in by_page for each in page["messages"]] == everything
    assert [each["id"] for page in by_cursor for each in page["messages"]] == everything
    assert {page["total"] for page in [*by_page, *by_cursor]} == {50}
    assert [page["page"] for page in by_page] == list(range(1, 9))
    assert [page["page"] for page in by_cursor] == [1] + [None] * 7


def test_a_cursor_holds_its_place_while_messages_come_in(device: Device) -> None:
    conversation = sync(device, [at(number) for number in range(10)])["conversationId"]
    first = messages_of(device, conversation, pageSize=5)
    sync(device, [at(number) for number in range(20, 30)])

    assert texts(messages_of(device, conversation, pageSize=5, before=first["nextCursor"])) == ["4", "3", "2", "1", "0"]


BAD_CURSORS = ["x", "Ä", "AAAA", "00000000-0000-0000-0000-000000000000"]


@pytest.mark.parametrize("query", [*({"before": cursor} for cursor in BAD_CURSORS), {"page": 0}, {"pageSize": 0}, {"pageSize": 201}])
def test_a_page_that_cannot_be_is_400(device: Device, query: dict[str, Any]) -> None:
    conversation = sync(device, [message()])["conversationId"]

    answer = device.client.get(f"/api/conversations/{conversation}/messages", params=query)

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == next(iter(query))


def test_a_cursor_goes_without_a_page(device: Device) -> None:
    conversation = sync(device, [at(1), at(2)])["conversationId"]
    cursor = messages_of(device, conversation, pageSize=1)["nextCursor"]

    answer = device.client.get(f"/api/conversations/{conversation}/messages", params={"before": cursor, "page": 2})

    assert answer.status_code == 400


def test_reactions_are_shown_on_their_message(device: Device) -> None:
    add_contact(device, "Anna", phoneNumber="+14155550100", email="anna@example.com")

    def reaction(minute: int, kind: str, **changes: Any) -> dict[str, Any]:
        return at(minute, messageType="reaction", associatedMessageGuid="p:0/target", associatedMessageType=kind, **changes)

    answer = sync(
        device,
        [
            message("target"),
            reaction(1, "like"),
            reaction(2, "2000", senderId="anna@example.com"),
            reaction(3, "laugh", direction="outgoing", senderId="me"),
            reaction(4, "question", senderId="+14155550122"),
            reaction(5, "-question", senderId="+14155550122"),
            reaction(6, "dislike", senderId="+14155550133", retractedAt="2024-01-01T13:00:00Z"),
        ],
        isGroup=True,
    )

    page = messages_of(device, answer["conversationId"])

    target = page["messages"][-1]
    assert target["imessageGuid"] == "target"
    assert [(each["type"], each["direction"], each["senderName"]) for each in target["reactions"]] == [
        ("love", "incoming", "Anna"),
        ("laugh", "outgoing", None),
    ]
    assert page["total"] == len(page["messages"]) == 7


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ({"associatedMessageType": "2006", "associatedMessageEmoji": "🎉"}, "🎉"),
        ({"associatedMessageType": 2006, "text": "🎉"}, "🎉"),
        ({"associatedMessageType": "2006", "text": "Reacted 🎉 to “hello 👍”"}, "🎉"),
        ({"associatedMessageType": "emoji", "associatedMessageEmoji": "🎉"}, "🎉"),
        ({"associatedMessageType": "🎉"}, "🎉"),
        ({"associatedMessageType": 2006, "associatedMessageEmoji": " ", "text": "🎉"}, "🎉"),
        ({"associatedMessageType": 2006}, "emoji"),
        ({"associatedMessageType": "2007"}, "sticker"),
        ({"associatedMessageType": 2003}, "laugh"),
        ({"associatedMessageType": "laugh"}, "laugh"),
    ],
)
@pytest.mark.parametrize("removed", [{"associatedMessageType": "3006", "associatedMessageEmoji": "🎉"}, {"associatedMessageType": 3007}])
def test_a_reaction_is_shown_until_it_is_taken_back(device: Device, sent: dict[str, Any], shown: str, removed: dict[str, Any]) -> None:
    about: dict[str, Any] = {"messageType": "reaction", "associatedMessageGuid": "target", "text": None}
    conversation = sync(device, [at(0, imessageGuid="target"), at(1, **{**about, **sent})])["conversationId"]

    [target] = [each for each in messages_of(device, conversation)["messages"] if each["imessageGuid"] == "target"]
    assert [each["type"] for each in target["reactions"]] == [shown]

    sync(device, [at(2, **{**about, **removed})])

    [target] = [each for each in messages_of(device, conversation)["messages"] if each["imessageGuid"] == "target"]
    assert target["reactions"] == []


@pytest.mark.parametrize("index", range(8))
@pytest.mark.parametrize("spelling", [str, int])
def test_every_number_of_apples_sets_and_takes_back(device: Device, index: int, spelling: type[str] | type[int]) -> None:
    about = {"messageType": "reaction", "associatedMessageGuid": "target"}

    def reactions(*kinds: str | int) -> list[dict[str, Any]]:
        sent = [at(1 + place, text=None, associatedMessageType=kind, **about) for place, kind in enumerate(kinds)]
        conversation = sync(device, [at(0, imessageGuid="target"), *sent])["conversationId"]
        return list(messages_of(device, conversation)["messages"][-1]["reactions"])

    assert len(reactions(spelling(2000 + index))) == 1
    assert reactions(spelling(2000 + index), spelling(3000 + index)) == []


def found(device: Device, words: str, **query: Any) -> list[str]:
    return texts(get(device, "/api/messages/search", q=words, **query))


def test_search_finds_words_newest_first_and_never_what_was_retracted(device: Device) -> None:
    sync(
        device, [at(1, text="Dinner at eight"), at(2, text="dinner is off"), at(3, text="Breakfast"), message("gone", text="dinner secret")]
    )
    other = sync(device, [at(4, text="Dinner again")], name="other")
    sync(device, [message("gone", retractedAt="2024-01-02T12:00:00Z")])

    assert found(device, "dinner") == ["Dinner again", "dinner is off", "Dinner at eight"]
    assert found(device, "dinner -off") == ["Dinner again", "Dinner at eight"]
    assert found(device, '"at eight" or breakfast') == ["Breakfast", "Dinner at eight"]
    assert found(device, "dinner", conversationId=other["conversationId"]) == ["Dinner again"]
    page = get(device, "/api/messages/search", q="dinner", page=2, pageSize=2)
    assert (texts(page), page["total"]) == (["Dinner at eight"], 3)
    assert get(device, "/api/messages/search", q="dinner", page=5, pageSize=2)["total"] == 3


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("今晚一起吃饭吗", ["吃饭", "今晚", "饭", "吗", "一起 吃饭", "今晚一起吃饭吗"]),
        ("ラーメンを食べよう", ["ラーメン", "食べ", "ﾗｰﾒﾝ"]),
        ("ไปกินข้าวกัน", ["กินข้าว"]),
        ("학교에서 만나", ["학교", "만나"]),
        ("e\u0301tude de cas", ["étude", "e\u0301tude", "ÉTUDE cas"]),
        ("Straße", ["strasse", "STRASSE"]),
        ("“quoted” and/or don\u2019t", ["quoted", "or", "don't"]),
        ("हिन्दी में लिखो", ["हिन्दी"]),
        ("party 🎉!", ["🎉"]),
    ],
)
def test_search_finds_words_of_any_script_and_spelling(device: Device, text: str, words: list[str]) -> None:
    sync(device, [message(text=text), message(text="Something else 起一 tude")])

    assert [found(device, each) for each in words] == [[text]] * len(words)


def test_search_follows_an_edit(device: Device) -> None:
    sync(device, [message("m", text="at eight")])
    sync(device, [message("m", text="at nine", editedAt="2024-01-01T12:01:00Z")])

    assert (found(device, "eight"), found(device, "nine")) == ([], ["at nine"])


def test_a_search_that_takes_too_long_ends_and_nothing_else_waits_for_it(device: Device, database_url: str) -> None:
    """The table is locked, so that no search can be answered. Who a device is is read from other tables."""
    sync(device, [message(text="Hello")])
    waiting = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%tsquery%'"

    def search(_: int) -> httpx.Response:
        return device.client.get("/api/messages/search", params={"q": "hello"})

    with locked(database_url, "message"), ThreadPoolExecutor(8) as pool:
        searches = [pool.submit(search, number) for number in range(8)]
        eventually(lambda: rows(database_url, waiting)[0]["count"] > 0)
        assert device.client.get("/api/devices").status_code == 200
        assert not all(each.done() for each in searches)
        answers = [each.result() for each in searches]

    assert {answer.status_code for answer in answers} == {503}
    assert {answer.json()["message"] for answer in answers} == {"That took too long; narrow it down, or try again later"}
    assert "Retry-After" in answers[0].headers
    assert found(device, "hello") == ["Hello"]


@contextmanager
def locked(database_url: str, table: str) -> Iterator[None]:
    """Nobody else reads the table meanwhile."""
    begun, done = threading.Event(), threading.Event()

    async def hold() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            async with connection.transaction():
                await connection.execute(f"lock table {table} in access exclusive mode")
                begun.set()
                await asyncio.to_thread(done.wait)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as holder:
        held = holder.submit(asyncio.run, hold())
        assert begun.wait(PATIENCE_SECONDS)
        try:
            yield
        finally:
            done.set()
        held.result()


@pytest.mark.parametrize("words", ["'", '"', "a & | !", ":*", "\\", "-", "or", "((", "%", "<->", "x" * 200, "😀", "' or 1=1 --"])
def test_nothing_that_a_person_types_is_an_error(device: Device, words: str) -> None:
    sync(device, [message(text="Hello there")])

    assert found(device, words) in ([], ["Hello there"])


@pytest.mark.parametrize(
    "query", [{}, {"q": ""}, {"q": "-zzz"}, {"q": "hello or -zzz"}, {"q": "x" * 201}, {"q": "a\0b"}, {"q": "a", "pageSize": "101"}]
)
def test_a_search_that_cannot_be_is_400(device: Device, query: dict[str, str]) -> None:
    assert device.client.get("/api/messages/search", params=query).status_code == 400


def test_deleting_a_thread_takes_everything_with_it(device: Device, database_url: str) -> None:
    answer = sync(device, [message("m", senderId="anna@example.com")])
    kept = sync(device, [message("other")], name="kept")
    conversation = answer["conversationId"]
    insert_sample = """
        insert into sample (id, account_id, conversation_id, source, messages, created_at) values ($1, $2, $3, 'history', '[]', now())
    """
    rows(database_url, insert_sample, uuid4(), device.account_id, conversation)

    deleted = device.client.delete(f"/api/conversations/{conversation}")

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert device.client.delete(f"/api/conversations/{conversation}").status_code == 404
    assert device.client.get(f"/api/conversations/{conversation}/messages").status_code == 404
    for table in ("message", "participant", "sample"):
        assert rows(database_url, f"select * from {table} where conversation_id = $1", conversation) == []
    assert [each["id"] for each in get(device, "/api/conversations")["conversations"]] == [kept["conversationId"]]
    assert sync(device, [message("m")])["created"] == 1


def test_another_accounts_threads_are_as_unknown_ones(device: Device, gateway: GatewayProcess) -> None:
    conversation = sync(device, [message(text="Private")])["conversationId"]
    stranger = paired_device(gateway.url)

    def answers(conversation_id: object) -> list[tuple[int, Any]]:
        path = f"/api/conversations/{conversation_id}"
        return [without_id(stranger.client.get(f"{path}/messages")), without_id(stranger.client.delete(path))]

    assert answers(conversation) == answers(uuid4())
    assert [status for status, _ in answers(conversation)] == [404, 404]
    assert get(stranger, "/api/conversations")["total"] == 0
    assert found(stranger, "private") == []
    assert found(stranger, "private", conversationId=conversation) == []
    assert len(messages_of(device, conversation)["messages"]) == 1


def without_id(answer: httpx.Response) -> tuple[int, Any]:
    return answer.status_code, {key: value for key, value in answer.json().items() if key != "requestId"}
