"""POST /api/sync/contacts: who is who."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def card(name: str = "John Doe", **handles: Any) -> dict[str, Any]:
    return {"displayName": name, **handles}


def sync_contacts(device: Device, *cards: dict[str, Any], **batch: Any) -> dict[str, Any]:
    answer = device.client.post("/api/sync/contacts", json={"contacts": list(cards), **batch})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def ids(answer: dict[str, Any]) -> list[str]:
    return [contact["id"] for contact in answer["contacts"]]


def sender_names(device: Device, conversation_id: str) -> list[str | None]:
    messages = device.client.get(f"/api/conversations/{conversation_id}/messages").json()["messages"]
    return [each["senderName"] for each in messages]


def test_the_documented_request_is_stored(device: Device) -> None:
    documented = {
        "appleId": "john@icloud.com",
        "phoneNumber": "+1234567890",
        "email": "john@example.com",
        "displayName": "John Doe",
        "avatarHash": None,
    }

    answer = sync_contacts(device, documented)

    assert (answer["created"], answer["updated"], answer["unchanged"]) == (1, 0, 0)
    assert answer["contacts"] == [{"id": answer["contacts"][0]["id"], **documented}]
    assert sync_contacts(device, documented) == {**answer, "created": 0, "unchanged": 1}


def test_numbers_are_kept_as_e164_and_addresses_in_lower_case(device: Device) -> None:
    answer = sync_contacts(device, card(phoneNumber="+49 (171) 123-4567", email="Anna@Example.COM", appleId="+1 415 555 0100"))

    [contact] = answer["contacts"]
    assert (contact["phoneNumber"], contact["email"], contact["appleId"]) == ("+491711234567", "anna@example.com", "+14155550100")


def test_a_number_without_country_code_needs_a_region(device: Device) -> None:
    national = card(phoneNumber="(415) 555-0100")

    refused = device.client.post("/api/sync/contacts", json={"contacts": [card(email="a@b.c"), national]})
    answer = sync_contacts(device, national, defaultRegion="US")

    assert refused.status_code == 400
    assert refused.json()["details"][0]["field"] == "contacts[1].phoneNumber"
    assert "defaultRegion" in refused.json()["message"]
    assert answer["contacts"][0]["phoneNumber"] == "+14155550100"


@pytest.mark.parametrize(
    ("field", "bad", "batch"),
    [
        ("contacts[0]", card(), {}),
        ("contacts[0].phoneNumber", card(phoneNumber="call me"), {"defaultRegion": "US"}),
        ("contacts[0].phoneNumber", card(phoneNumber="12"), {"defaultRegion": "US"}),
        ("contacts[0].phoneNumber", card(phoneNumber="4155550100"), {"defaultRegion": "XX"}),
        ("contacts[0].email", card(email="nobody"), {}),
        ("contacts[0].appleId", card(appleId="  "), {}),
        ("contacts[0].displayName", card("", email="a@b.c"), {}),
        ("contacts[0].displayName", card("a\0b", email="a@b.c"), {}),
        ("defaultRegion", card(email="a@b.c"), {"defaultRegion": "usa"}),
    ],
)
def test_a_card_that_cannot_be_kept_is_named(device: Device, field: str, bad: dict[str, Any], batch: dict[str, Any]) -> None:
    answer = device.client.post("/api/sync/contacts", json={"contacts": [bad], **batch})

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == field


def test_one_shared_handle_makes_it_the_same_contact(device: Device) -> None:
    first = sync_contacts(device, card("John", email="john@example.com"))

    second = sync_contacts(device, card("John Doe", email="JOHN@example.com", phoneNumber="+14155550100", avatarHash="abc"))
    third = sync_contacts(device, card("John Doe", phoneNumber="+1 415 555-0100", avatarHash="abc"))

    assert ids(second) == ids(third) == ids(first)
    assert (second["updated"], third["unchanged"]) == (1, 1)
    assert third["contacts"][0]["email"] == "john@example.com"


def test_the_same_contact_twice_in_a_batch_is_one(device: Device) -> None:
    answer = sync_contacts(device, card("J", email="j@x.org"), card("Anna", email="a@x.org"), card("John", email="j@x.org"))

    assert answer["created"] == 2
    assert ids(answer)[0] == ids(answer)[2]
    assert [contact["displayName"] for contact in answer["contacts"]] == ["John", "Anna", "John"]


def test_a_card_with_handles_of_two_contacts_makes_them_the_older_one(device: Device, database_url: str) -> None:
    older, younger = ids(sync_contacts(device, card("John", email="j@x.org"), card("Johnny", phoneNumber="+14155550100")))
    first = sync(device, [message(senderId="j@x.org")], name="one")
    second = sync(device, [message(senderId="+14155550100")], name="two")

    answer = sync_contacts(device, card("John Doe", email="j@x.org", phoneNumber="+14155550100"))

    assert ids(answer) == [older]
    assert answer["updated"] == 1
    assert sender_names(device, first["conversationId"]) == sender_names(device, second["conversationId"]) == ["John Doe"]
    assert [row["id"] for row in rows(database_url, "select id::text from contact where account_id = $1", device.account_id)] == [older]
    third = sync(device, [message(senderId=younger)], name="three")
    assert sender_names(device, third["conversationId"]) == ["John Doe"]


def test_a_message_finds_its_contact_whichever_comes_first(device: Device) -> None:
    [anna] = ids(sync_contacts(device, card("Anna", email="anna@example.com")))
    early = sync(device, [message(senderId="+1 (415) 555-0100")], name="early", participantIds=[anna])

    sync_contacts(device, card("John", phoneNumber="+14155550100"))
    late = sync(device, [message(senderId="ANNA@example.com")], name="late")

    assert sender_names(device, early["conversationId"]) == ["John"]
    assert sender_names(device, late["conversationId"]) == ["Anna"]
    conversations = device.client.get("/api/conversations").json()["conversations"]
    people = {
        conversation["imessageId"]: [person["displayName"] for person in conversation["participants"]] for conversation in conversations
    }
    assert people == {"early": ["Anna", "John"], "late": ["Anna"]}


def test_another_accounts_contacts_mean_nothing_here(device: Device, gateway: GatewayProcess) -> None:
    stranger = paired_device(gateway.url)
    theirs = sync_contacts(stranger, card("Theirs", email="john@example.com"))

    mine = sync_contacts(device, card("Mine", email="john@example.com"))
    thread = sync(device, [message(senderId=ids(theirs)[0])])

    assert mine["created"] == 1
    assert sender_names(device, thread["conversationId"]) == [None]
    assert sync_contacts(stranger, card("Theirs", email="john@example.com"))["unchanged"] == 1


def test_contacts_and_messages_at_once_find_each_other(device: Device, database_url: str) -> None:
    handles = [f"person{number}@example.com" for number in range(12)]

    def contacts(number: int) -> None:
        sync_contacts(device, *(card(f"Person {handle}", email=handle) for handle in handles[number % 3 :: 2]))

    def messages(number: int) -> None:
        sync(device, [message(senderId=handle) for handle in handles], name=f"thread {number}")

    with ThreadPoolExecutor(8) as pool:
        running = [pool.submit(contacts if number % 2 else messages, number) for number in range(24)]
        for each in running:
            each.result()
    contacts(0)
    contacts(1)

    contact_rows = rows(database_url, "select email from contact where account_id = $1", device.account_id)
    assert sorted(row["email"] for row in contact_rows) == sorted(handles)
    lonely = """
        select count(*) from participant join conversation on conversation.id = participant.conversation_id
        where account_id = $1 and contact_id is null
    """
    assert rows(database_url, lonely, device.account_id)[0]["count"] == 0
