"""One conversation with one person, however many chats a phone has with them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.gateway.conversations.test_draft_context import contents, context
from tests.gateway.events.readers import listening, until

NUMBER, ADDRESS = "+15550100001", "john@example.com"
BY_NUMBER = [f"{service};-;{NUMBER}" for service in ("iMessage", "SMS", "RCS", "any")]
BY_ADDRESS = f"iMessage;-;{ADDRESS}"
JOHN = {"displayName": "John", "phoneNumber": NUMBER, "email": ADDRESS}


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def add_contacts(device: Device, *cards: dict[str, Any]) -> None:
    device.client.post("/api/sync/contacts", json={"contacts": cards}).raise_for_status()


def chat(device: Device, name: str, minute: int = 0, sender: str | None = None, **changes: Any) -> dict[str, Any]:
    """Sync one message of a chat, whose text is the minute it was sent at."""
    sender = sender or name.rpartition(";")[2]
    return sync(device, [message(text=str(minute), senderId=sender, sentAt=f"2024-01-01T12:{minute:02}:00Z")], name=name, **changes)


def two_messages(device: Device) -> dict[str, Any]:
    chat(device, BY_NUMBER[0], 0)
    return chat(device, BY_NUMBER[0], 2)


def listed(device: Device) -> list[dict[str, Any]]:
    return list(device.client.get("/api/conversations").json()["conversations"])


def texts(device: Device, conversation_id: str) -> list[str]:
    answer = device.client.get(f"/api/conversations/{conversation_id}/messages")
    assert answer.status_code == 200, answer.text
    return [each["text"] for each in answer.json()["messages"]]


def counted(database_url: str, device: Device) -> list[tuple[int, int]]:
    """What each conversation says it has, and what it has."""
    query = """
        select message_count, (select count(*) from message where conversation_id = conversation.id) as counted
        from conversation where account_id = $1
    """
    return [(row["message_count"], row["counted"]) for row in rows(database_url, query, device.account_id)]


def test_all_services_of_a_number_are_one_conversation(device: Device, database_url: str) -> None:
    answers = [chat(device, name, minute) for minute, name in enumerate(BY_NUMBER)]

    [conversation] = listed(device)
    assert {answer["conversationId"] for answer in answers} == {conversation["id"]}
    assert (conversation["imessageId"], conversation["imessageIds"]) == (BY_NUMBER[0], BY_NUMBER)
    assert (conversation["messageCount"], [person["displayName"] for person in conversation["participants"]]) == (4, [NUMBER])
    assert counted(database_url, device) == [(4, 4)]


@pytest.mark.parametrize("other", [BY_ADDRESS, f"SMS;-;{NUMBER[2:]}", "iMessage;-;JOHN@Example.com", NUMBER, ADDRESS])
def test_another_handle_of_a_contact_is_the_same_conversation_and_a_draft_sees_all_of_it(
    device: Device, database_url: str, other: str
) -> None:
    add_contacts(device, JOHN)
    first = chat(device, BY_NUMBER[0], 0)

    second = chat(device, other, 10)

    assert second["conversationId"] == first["conversationId"]
    found = context(database_url, device.account_id, second["messages"][0]["id"])
    assert contents(found) == ["u: 0", "u: 10"]
    assert "a private chat with John" in found.prompt.turns[0].content


def test_the_contact_that_joins_two_conversations_may_come_later(device: Device, database_url: str, gateway: GatewayProcess) -> None:
    first = two_messages(device)["conversationId"]
    gone = chat(device, BY_ADDRESS, 1)
    kept = made_of(database_url, device, gone)
    assert gone["conversationId"] != first

    with listening(gateway.url, device.token) as socket:
        add_contacts(device, JOHN)
        told = until(socket, "conversation:merged")[-1]

    assert told["data"] == {"conversationId": first, "formerId": gone["conversationId"]}
    [conversation] = listed(device)
    assert conversation["id"] == first
    assert [person["displayName"] for person in conversation["participants"]] == ["John"]
    assert (conversation["messageCount"], conversation["lastMessagePreview"]) == (3, "2")
    assert counted(database_url, device) == [(3, 3)]
    assert texts(device, first) == ["2", "1", "0"]
    for table in ("response", "sample"):
        query = f"select conversation_id::text from {table} where id = $1"
        assert rows(database_url, query, kept[table])[0]["conversation_id"] == first
    names = {each["senderName"] for each in device.client.get(f"/api/conversations/{first}/messages").json()["messages"]}
    assert names == {"John"}


def made_of(database_url: str, device: Device, answer: dict[str, Any]) -> dict[str, UUID]:
    """A draft and a sample that came from a conversation."""
    ids = {"response": uuid4(), "sample": uuid4()}
    conversation, sent = UUID(answer["conversationId"]), UUID(answer["messages"][0]["id"])
    for statement in (
        "insert into response (id, account_id, conversation_id, message_id, status, message_ids, text, created_at, completed_at)"
        " values ($1, $2, $3, $4, 'completed', array[$4::uuid], 'Hi', now(), now())",
        "insert into sample (id, account_id, conversation_id, source, messages, message_ids, output, quality, replied_at, created_at)"
        " values ($1, $2, $3, 'history', '[]', array[$4::uuid], 'Hi', 1, now(), now())",
    ):
        rows(database_url, statement, ids["response" if "response" in statement else "sample"], device.account_id, conversation, sent)
    return ids


def test_the_id_of_a_merged_conversation_still_finds_it(device: Device, database_url: str) -> None:
    two_messages(device)
    gone = chat(device, BY_ADDRESS, 1)
    former = gone["conversationId"]
    made_of(database_url, device, gone)
    add_contacts(device, JOHN)

    assert texts(device, former) == ["2", "1", "0"]
    found = device.client.get("/api/messages/search", params={"q": "1", "conversationId": former}).json()
    drafts = device.client.get("/api/responses", params={"conversationId": former}).json()
    assert (found["total"], drafts["total"]) == (1, 1)
    imported = device.client.post("/api/training/samples/import", json={"conversationId": former})
    assert imported.status_code == 200
    assert device.client.delete(f"/api/conversations/{former}").status_code == 204
    assert listed(device) == []


def test_a_retraction_finds_what_was_made_before_the_merge(device: Device, database_url: str) -> None:
    two_messages(device)
    gone = chat(device, BY_ADDRESS, 1)
    kept = made_of(database_url, device, gone)
    add_contacts(device, JOHN)

    guid = gone["messages"][0]["imessageGuid"]
    sync(device, [message(guid, senderId=ADDRESS, retractedAt="2024-01-02T12:00:00Z", sentAt="2024-01-01T12:01:00Z")], name=BY_ADDRESS)

    assert rows(database_url, "select text from response where id = $1", kept["response"])[0]["text"] is None
    assert rows(database_url, "select id from sample where id = $1", kept["sample"]) == []


def test_contacts_that_become_one_join_their_conversations(device: Device) -> None:
    add_contacts(device, {"displayName": "John", "phoneNumber": NUMBER}, {"displayName": "John Doe", "email": ADDRESS})
    chat(device, BY_NUMBER[0], 0)
    chat(device, BY_ADDRESS, 1)
    assert len(listed(device)) == 2

    add_contacts(device, JOHN)

    [conversation] = listed(device)
    assert texts(device, conversation["id"]) == ["1", "0"]


def test_sending_it_all_again_changes_nothing(device: Device, database_url: str) -> None:
    def send() -> list[dict[str, Any]]:
        return [
            sync(device, [message(f"{name} {number}", senderId=name.rpartition(";")[2]) for number in range(3)], name=name)
            for name in (*BY_NUMBER, BY_ADDRESS)
        ]

    send()
    add_contacts(device, JOHN)
    again = send()
    add_contacts(device, JOHN)

    assert {(answer["created"], answer["updated"], answer["unchanged"]) for answer in again} == {(0, 0, 3)}
    assert len({answer["conversationId"] for answer in again}) == 1
    assert counted(database_url, device) == [(15, 15)]


def test_each_chat_says_where_its_own_client_resumes(device: Device) -> None:
    """A phone that has uploaded its iMessages up to noon may still have older texts to send."""
    chat(device, BY_NUMBER[0], 30)
    chat(device, BY_NUMBER[0], 31)
    latest = chat(device, BY_ADDRESS, 10)
    add_contacts(device, JOHN)
    chat(device, BY_NUMBER[1], 5)

    state = device.client.get("/api/sync/state").json()["conversations"]

    assert [(each["conversationImessageId"], each["messageCount"], each["lastSentAt"]) for each in state] == [
        (BY_NUMBER[0], 2, "2024-01-01T12:31:00Z"),
        (BY_ADDRESS, 1, "2024-01-01T12:10:00Z"),
        (BY_NUMBER[1], 1, "2024-01-01T12:05:00Z"),
    ]
    assert state[1]["lastMessageGuid"] == latest["messages"][0]["imessageGuid"]
    assert {each["conversationId"] for each in state} == {listed(device)[0]["id"]}


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        (f"iMessage;+;{NUMBER}", {}),
        (f"iMessage;-;{NUMBER}", {"isGroup": True}),
        ("chat123", {"participantIds": [NUMBER], "isGroup": False}),
        ("iMessage;-;+15550100002", {}),
    ],
)
def test_groups_and_chats_with_others_stay_by_themselves(device: Device, name: str, changes: dict[str, Any]) -> None:
    add_contacts(device, JOHN)
    chat(device, BY_ADDRESS, 0)

    chat(device, name, 1, sender=NUMBER, **changes)
    add_contacts(device, JOHN)

    assert len(listed(device)) == 2


def test_a_number_that_two_contacts_share_joins_nothing(device: Device) -> None:
    landline = {"phoneNumber": "+15550100009"}
    add_contacts(device, {"displayName": "Mum", "email": "mum@x.org", **landline}, {"displayName": "Dad", "email": "dad@x.org", **landline})

    ids = {chat(device, f"iMessage;-;{peer}")["conversationId"] for peer in ("+15550100009", "mum@x.org", "dad@x.org")}

    assert len(ids) == 3


def test_what_was_one_person_is_not_taken_apart_again(device: Device) -> None:
    add_contacts(device, JOHN)
    chat(device, BY_NUMBER[0], 0)
    chat(device, BY_ADDRESS, 1)

    add_contacts(device, {"displayName": "Reception", "phoneNumber": NUMBER, "email": "reception@example.com"})
    again = [chat(device, name, minute)["conversationId"] for minute, name in ((2, BY_NUMBER[0]), (3, BY_ADDRESS))]

    [conversation] = listed(device)
    assert again == [conversation["id"]] * 2
    assert conversation["messageCount"] == 4


def test_a_deleted_conversation_comes_anew_and_is_one_again(device: Device, database_url: str) -> None:
    add_contacts(device, JOHN)
    old = chat(device, BY_NUMBER[0], 0)["conversationId"]
    chat(device, BY_ADDRESS, 1)
    assert device.client.delete(f"/api/conversations/{old}").status_code == 204

    new = [chat(device, name, minute)["conversationId"] for minute, name in enumerate((BY_ADDRESS, BY_NUMBER[0]))]

    [conversation] = listed(device)
    assert new == [conversation["id"]] * 2
    assert conversation["id"] != old
    assert device.client.get(f"/api/conversations/{old}/messages").status_code == 404
    assert counted(database_url, device) == [(2, 2)]


def test_a_chat_that_was_taken_for_a_group_keeps_what_came(device: Device) -> None:
    chat(device, BY_NUMBER[0], 0, isGroup=True)
    chat(device, BY_NUMBER[0], 1, isGroup=False)

    [conversation] = listed(device)
    assert (conversation["imessageIds"], conversation["isGroup"], conversation["messageCount"]) == ([BY_NUMBER[0]], False, 2)
    [state] = device.client.get("/api/sync/state").json()["conversations"]
    assert (state["conversationImessageId"], state["messageCount"]) == (BY_NUMBER[0], 2)


def test_devices_that_sync_everything_at_once_end_with_one_conversation(
    device: Device, second_gateway: GatewayProcess, database_url: str
) -> None:
    """Chats of one person, the contact that joins them, and other threads with copies of their messages, from two devices at two
    gateways: nobody waits for another one for ever, and nothing is lost.
    """
    devices = [device, paired_device(second_gateway.url, owner=device)]
    names = [*BY_NUMBER, BY_ADDRESS, "another thread"]
    people = [f"person{number}@example.com" for number in range(6)]

    def send(number: int) -> None:
        client = devices[number % 2]
        if number % 5 == 4:
            add_contacts(client, JOHN, *({"displayName": f"Person {person}", "email": person} for person in people[number % 3 :]))
            return
        batch = [message(f"{number // 6}-{each}", senderId=NUMBER, text=f"{each}") for each in range(30)]
        sync(client, batch[::-1] if number % 2 else batch, name=names[number % 6], participantIds=people[: number % 6])

    for _ in range(2):
        with ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(send, number) for number in range(48)]:
                done.result(timeout=PATIENCE_SECONDS * 3)

    one = [each for each in listed(device) if each["imessageId"] != "another thread"]
    assert len(one) == 1
    assert sorted(one[0]["imessageIds"]) == sorted(names[:-1])
    assert all(said == there for said, there in counted(database_url, device))
    assert sum(there for _, there in counted(database_url, device)) == 8 * 30


def test_contacts_that_come_in_pieces_while_their_chats_are_synced_end_with_a_conversation_each(
    device: Device, second_gateway: GatewayProcess, database_url: str
) -> None:
    """Each piece joins other conversations, while batches of them, and of groups with copies of their messages, are under way."""
    devices = [device, paired_device(second_gateway.url, owner=device)]
    handles = {number: [f"+1555010{number:04}", f"a{number}@example.com", f"b{number}@example.com"] for number in range(6)}

    def send(client: Device, person: int, handle: str) -> None:
        batch = [message(f"{person} {each}", senderId=handles[person][0]) for each in range(20)]
        sync(client, batch, name=f"iMessage;-;{handle}")
        sync(client, batch[::-1], name=f"group {person % 2}", isGroup=True, participantIds=[handle])

    def introduce(client: Device, person: int, address: str) -> None:
        add_contacts(client, {"displayName": f"Person {person}", "phoneNumber": handles[person][0], "email": address})

    with ThreadPoolExecutor(8) as pool:
        running = []
        for person, (number, *addresses) in handles.items():
            running += [pool.submit(send, devices[person % 2], person, handle) for handle in (number, *addresses)]
            running += [pool.submit(introduce, devices[place], person, address) for place, address in enumerate(addresses)]
        for each in running:
            each.result()

    direct = [each for each in listed(device) if not each["isGroup"]]
    assert sorted(len(each["imessageIds"]) for each in direct) == [3] * len(handles)
    assert all(said == there for said, there in counted(database_url, device))
    assert sum(there for _, there in counted(database_url, device)) == 20 * len(handles)
