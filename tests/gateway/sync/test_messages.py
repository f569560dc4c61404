"""POST /api/sync/messages: what is stored, what a copy changes, what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import Device, message, paired_device, sync, thread
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess

DOCUMENTED = {
    "conversationImessageId": "iMessage-thread-id",
    "conversationDisplayName": "John Doe",
    "isGroup": False,
    "participantIds": ["contact-id-1"],
    "messages": [
        {
            "imessageGuid": "msg-guid",
            "senderId": "contact-id-1",
            "direction": "incoming",
            "messageType": "text",
            "text": "Hello!",
            "sentAt": "2024-01-01T12:00:00Z",
        }
    ],
}


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def stored(database_url: str, device: Device, guid: str) -> dict[str, Any]:
    [row] = rows(database_url, "select * from message where account_id = $1 and imessage_guid = $2", device.account_id, guid)
    return dict(row)


def counters(database_url: str, device: Device) -> list[tuple[int, int]]:
    """What each thread says it has, and what it has."""
    query = """
        select message_count, (select count(*) from message where conversation_id = conversation.id) as counted
        from conversation where account_id = $1 order by imessage_id
    """
    return [(row["message_count"], row["counted"]) for row in rows(database_url, query, device.account_id)]


def test_the_documented_request_is_stored(device: Device, database_url: str) -> None:
    answer = device.client.post("/api/sync/messages", json=DOCUMENTED)

    assert answer.status_code == 200
    row = stored(database_url, device, "msg-guid")
    assert answer.json() == {
        "conversationId": str(row["conversation_id"]),
        "created": 1,
        "updated": 0,
        "unchanged": 0,
        "messages": [{"imessageGuid": "msg-guid", "id": str(row["id"])}],
    }
    assert row["text"] == "Hello!"
    assert UUID(str(row["id"])).version == 7


def test_sending_it_again_changes_nothing(device: Device, database_url: str) -> None:
    first = device.client.post("/api/sync/messages", json=DOCUMENTED).json()

    again = device.client.post("/api/sync/messages", json=DOCUMENTED).json()

    assert again == {**first, "created": 0, "unchanged": 1}
    assert counters(database_url, device) == [(1, 1)]


def test_answers_in_the_order_sent(device: Device) -> None:
    guids = [uuid4().hex for _ in range(20)]
    sync(device, [message(guid) for guid in guids[::3]])

    answer = sync(device, [message(guid) for guid in guids])

    assert [entry["imessageGuid"] for entry in answer["messages"]] == guids
    assert (answer["created"], answer["unchanged"]) == (13, 7)


def test_messages_of_the_same_second_keep_their_order(device: Device) -> None:
    answer = sync(device, [message(guid) for guid in ("z", "a", "m")])

    page = device.client.get(f"/api/conversations/{answer['conversationId']}/messages").json()

    assert [each["imessageGuid"] for each in page["messages"]] == ["m", "a", "z"]


def test_an_edit_changes_the_text(device: Device, database_url: str) -> None:
    sync(device, [message("m", text="Helo")])

    answer = sync(device, [message("m", text="Hello", editedAt="2024-01-01T12:01:00Z")])

    assert (answer["created"], answer["updated"]) == (0, 1)
    assert stored(database_url, device, "m")["text"] == "Hello"


@pytest.mark.parametrize("edited_at", [None, "2024-01-01T12:00:30Z"])
def test_a_stale_copy_does_not_undo_an_edit(device: Device, database_url: str, edited_at: str | None) -> None:
    sync(device, [message("m", text="Hello", editedAt="2024-01-01T12:01:00Z")])

    answer = sync(device, [message("m", text="Helo", editedAt=edited_at)])

    assert answer["unchanged"] == 1
    assert stored(database_url, device, "m")["text"] == "Hello"


def test_a_retraction_removes_the_text_for_good(device: Device, database_url: str) -> None:
    sync(device, [message("m", attachments=[{"filename": "a.png", "mimeType": "image/png"}])])

    sync(device, [message("m", retractedAt="2024-01-01T12:01:00Z")])
    sync(device, [message("m"), message("other")])
    sync(device, [message("m", text="Newer", editedAt="2024-01-01T13:00:00Z")])

    row = stored(database_url, device, "m")
    assert (row["text"], row["attachments"]) == (None, None)
    assert row["retracted_at"] is not None


def test_a_message_that_comes_retracted_never_has_a_text(device: Device, database_url: str) -> None:
    sync(device, [message("m", text="Secret", retractedAt="2024-01-01T12:01:00Z")])

    assert stored(database_url, device, "m")["text"] is None


def test_a_copy_without_a_text_does_not_remove_it(device: Device, database_url: str) -> None:
    sync(device, [message("m", text="Hello")])

    answer = sync(device, [message("m", text=None)])

    assert answer["unchanged"] == 1
    assert stored(database_url, device, "m")["text"] == "Hello"


def test_a_message_stays_in_the_thread_it_was_first_seen_in(device: Device, database_url: str) -> None:
    first = sync(device, [message("m")], name="one")

    second = sync(device, [message("m", text="Edited", editedAt="2024-01-01T12:01:00Z")], name="two")

    assert second["messages"] == [{**first["messages"][0], "conversationId": first["conversationId"]}]
    assert second["conversationId"] != first["conversationId"]
    row = stored(database_url, device, "m")
    assert (str(row["conversation_id"]), row["text"]) == (first["conversationId"], "Edited")
    assert counters(database_url, device) == [(1, 1), (0, 0)]


def test_a_message_of_another_thread_changes_neither_threads_counters_nor_last_message(device: Device) -> None:
    sync(device, [message("early"), message("m", sentAt="2024-01-03T12:00:00Z")], name="one")

    answer = sync(device, [message("m", sentAt="2025-01-03T12:00:00Z"), message("late", sentAt="2024-01-02T12:00:00Z")], name="two")

    assert [entry.get("conversationId") is None for entry in answer["messages"]] == [False, True]
    states = device.client.get("/api/sync/state").json()["conversations"]
    assert [(state["messageCount"], state["lastMessageGuid"]) for state in states] == [(2, "m"), (1, "late")]


def test_a_corrected_time_moves_the_last_message(device: Device) -> None:
    sync(device, [message("early"), message("late", sentAt="2024-01-02T12:00:00Z")])

    sync(device, [message("late", sentAt="2023-01-02T12:00:00Z")])

    [state] = device.client.get("/api/sync/state").json()["conversations"]
    assert (state["lastMessageGuid"], state["lastSentAt"]) == ("early", "2024-01-01T12:00:00Z")


def test_the_same_message_twice_in_a_batch_counts_once(device: Device, database_url: str) -> None:
    answer = sync(device, [message("m"), message("n"), message("m")])

    assert answer["created"] == 2
    assert [entry["imessageGuid"] for entry in answer["messages"]] == ["m", "n", "m"]
    assert counters(database_url, device) == [(2, 2)]


def test_two_devices_of_an_account_share_messages(device: Device, gateway: GatewayProcess) -> None:
    first = sync(device, [message("m")])

    second = sync(paired_device(gateway.url, owner=device), [message("m")])

    assert second == {**first, "created": 0, "unchanged": 1}


def test_another_account_with_the_same_guids_sees_nothing(device: Device, gateway: GatewayProcess) -> None:
    stranger = paired_device(gateway.url)
    mine = sync(device, [message("m", text="Mine")])

    theirs = sync(stranger, [message("m", text="Theirs")])

    assert theirs["created"] == 1
    assert theirs["conversationId"] != mine["conversationId"]
    [found] = stranger.client.get(f"/api/conversations/{theirs['conversationId']}/messages").json()["messages"]
    assert found["text"] == "Theirs"


def test_the_same_batch_at_once_from_everywhere_is_stored_once(device: Device, database_url: str, second_gateway: GatewayProcess) -> None:
    body = thread([message() for _ in range(200)], participantIds=["+14155550100", "anna@example.com"])

    def send(number: int) -> dict[str, Any]:
        url = "/api/sync/messages" if number % 2 else f"{second_gateway.url}/api/sync/messages"
        answer = device.client.post(url, json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(send, range(8)))

    assert sum(answer["created"] for answer in answers) == 200
    assert all(answer["messages"] == answers[0]["messages"] for answer in answers)
    assert counters(database_url, device) == [(200, 200)]


def test_an_empty_batch_makes_or_renames_a_thread(device: Device) -> None:
    first = sync(device, [], conversationDisplayName="Trip", isGroup=True)
    second = sync(device, [message()])

    [conversation] = device.client.get("/api/conversations").json()["conversations"]

    assert second["conversationId"] == first["conversationId"]
    assert (conversation["displayName"], conversation["isGroup"]) == ("Trip", True)


BAD = {
    "messages[1].sentAt": [
        message(sentAt="yesterday"), message(sentAt="2024-01-01T12:00:00"), message(sentAt="0001-01-01T00:00:00Z"),
        message(sentAt="9999-12-31T23:59:59Z"), message(sentAt=1704110400),
    ],
    "messages[1].editedAt": [message(editedAt="1969-12-31T23:59:59Z")],
    "messages[1].retractedAt": [message(retractedAt="2300-01-01T00:00:00Z")],
    "messages[1].direction": [message(direction="sideways")],
    "messages[1].messageType": [message(messageType="picture")],
    "messages[1].text": [message(text=1), message(text="a\0b"), message(text="x" * 100_001)],
    "messages[1].imessageGuid": [message(imessageGuid=""), message("x" * 201), message("a\0b"), message(imessageGuid=None)],
    "messages[1].senderId": [message(senderId=""), message(senderId="  "), message(senderId="a\0b"), message(senderId="x" * 321)],
    "messages[1].replyToGuid": [message(replyToGuid="\0")],
    "messages[1].associatedMessageType": [message(associatedMessageType="\0"), message(associatedMessageType=-1)],
    "messages[1].associatedMessageEmoji": [message(associatedMessageEmoji="\0")],
    "messages[1].attachments[0].filename": [message(attachments=[{"filename": "\0"}])],
    "messages[1].attachments[0].byteSize": [message(attachments=[{"byteSize": -1}])],
}  # fmt: skip


@pytest.mark.parametrize(("field", "bad"), [(field, bad) for field, several in BAD.items() for bad in several])
def test_one_bad_message_refuses_the_batch_and_is_named(device: Device, database_url: str, field: str, bad: dict[str, Any]) -> None:
    answer = device.client.post("/api/sync/messages", json=thread([message("good"), bad]))

    assert answer.status_code == 400
    assert [problem["field"] for problem in answer.json()["details"]] == [field]
    assert counters(database_url, device) == []


HALVES = ['"a\\ud83d"', '"\\udc00b"', '"\\ud83dab"', '"\\udc00\\ud83d"', '"\\\\ud83d\\ud83d"']


@pytest.mark.parametrize("half", HALVES)
@pytest.mark.parametrize("field", ["text", "imessageGuid", "senderId", "replyToGuid"])
def test_half_a_character_in_one_message_is_named(device: Device, database_url: str, field: str, half: str) -> None:
    batch = json.dumps(thread([message() for _ in range(37)] + [message(**{field: "HALF"})] + [message(text="😀")] * 2))
    body = batch.replace('"HALF"', half)

    answer = device.client.post("/api/sync/messages", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert [problem["field"] for problem in answer.json()["details"]] == [f"messages[37].{field}"]
    assert answer.json()["message"].startswith(f"messages[37].{field}: must not contain half a character")
    assert counters(database_url, device) == []


def test_one_guid_with_two_contents_is_refused(device: Device, database_url: str) -> None:
    answer = device.client.post("/api/sync/messages", json=thread([message("m"), message("n"), message("m", text="Other")]))

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "messages[2].imessageGuid"
    assert counters(database_url, device) == []


@pytest.mark.parametrize("field", ["imessageGuid", "senderId", "direction", "messageType", "sentAt"])
def test_a_missing_field_is_refused(device: Device, field: str) -> None:
    incomplete = message()
    del incomplete[field]

    answer = device.client.post("/api/sync/messages", json=thread([incomplete]))

    assert answer.status_code == 400
    assert field in answer.json()["message"]


def test_a_batch_holds_a_thousand_messages_and_no_more(device: Device) -> None:
    thousand = [message() for _ in range(1_000)]

    assert sync(device, thousand)["created"] == 1_000
    assert device.client.post("/api/sync/messages", json=thread([*thousand, message()])).status_code == 400


def test_a_body_over_eight_mebibytes_is_413(device: Device) -> None:
    body = json.dumps(thread([message(text="x" * 90_000) for _ in range(100)]))

    answer = device.client.post("/api/sync/messages", content=body, headers={"Content-Type": "application/json"})

    assert len(body) > 8 * 1024 * 1024
    assert answer.status_code == 413


def test_the_longest_text_fits_the_search_index(device: Device) -> None:
    words = " ".join(chr(0x1F600 + number % 80) + chr(0x4E00 + number % 20_000) + chr(0x4E00 + number // 7) for number in range(24_000))

    answer = sync(device, [message(text=words[:100_000]), message(text="🙂" * 100_000)])

    assert answer["created"] == 2


@pytest.mark.parametrize(
    "body",
    [b'{"messages": [', b'{"messages": "\xed\xa0\x80"}', b"\xff\xfe", b'{"conversationImessageId": "\\ud800", "messages": []}', b"[]", b""],
)
def test_a_body_that_is_no_batch_is_400(device: Device, body: bytes) -> None:
    answer = device.client.post("/api/sync/messages", content=body, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400


def test_state_says_where_to_resume(device: Device) -> None:
    sync(device, [message("a"), message("b", sentAt="2024-01-02T12:00:00Z")], name="one")
    answer = sync(device, [message("c", sentAt="2024-03-01T12:00:00Z")], name="two")
    sync(device, [], name="three")

    state = device.client.get("/api/sync/state").json()["conversations"]

    assert state[0] == {
        "conversationImessageId": "two",
        "conversationId": answer["conversationId"],
        "messageCount": 1,
        "lastMessageGuid": "c",
        "lastSentAt": "2024-03-01T12:00:00Z",
    }
    assert [(each["conversationImessageId"], each["messageCount"], each["lastMessageGuid"]) for each in state[1:]] == [
        ("one", 2, "b"),
        ("three", 0, None),
    ]
