"""Who is in a group: those of the last list. Who has left is known as such."""

from typing import Any

import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.conversations.test_draft_context import context

ANNA, BEN = "anna@example.com", "+14155550111"


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    device = paired_device(gateway.url)
    cards = [{"displayName": "Anna", "email": ANNA, "phoneNumber": "+14155550100"}, {"displayName": "Ben", "phoneNumber": BEN}]
    device.client.post("/api/sync/contacts", json={"contacts": cards}).raise_for_status()
    return device


def sync_group(device: Device, *people: str, messages: Any = ()) -> dict[str, Any]:
    return sync(device, messages, name="iMessage;+;chat1", isGroup=True, participantIds=list(people))


def people(device: Device) -> list[str]:
    [conversation] = device.client.get("/api/conversations").json()["conversations"]
    return [person["displayName"] for person in conversation["participants"]]


def senders(device: Device, conversation_id: str) -> list[str | None]:
    return [each["senderName"] for each in device.client.get(f"/api/conversations/{conversation_id}/messages").json()["messages"]]


def test_who_is_no_longer_listed_has_left_and_the_old_messages_keep_their_name(device: Device, database_url: str) -> None:
    sync_group(device, ANNA, BEN, messages=[message(senderId=BEN)])

    later = sync_group(device, ANNA, messages=[message(senderId=ANNA, sentAt="2024-01-02T12:00:00Z")])

    assert people(device) == ["Anna"]
    assert senders(device, later["conversationId"]) == ["Anna", "Ben"]
    [conversation] = device.client.get("/api/conversations").json()["conversations"]
    assert conversation["displayName"] == "Anna"
    assert device.client.get("/api/conversations", params={"q": "ben"}).json()["total"] == 0
    prompt = context(database_url, device.account_id, later["messages"][0]["id"]).prompt
    assert "with Anna." in prompt.turns[0].content
    assert "Ben" not in prompt.turns[0].content
    assert prompt.turns[1].content.startswith("Ben: ")


def test_who_is_listed_again_is_back(device: Device) -> None:
    for listed in ([ANNA, BEN], [ANNA], [ANNA, BEN]):
        sync_group(device, *listed)

    assert people(device) == ["Anna", "Ben"]


def test_who_wrote_but_is_not_listed_has_left_already(device: Device) -> None:
    answer = sync_group(device, ANNA, messages=[message(senderId=BEN)])

    assert people(device) == ["Anna"]
    assert senders(device, answer["conversationId"]) == ["Ben"]


def test_somebody_listed_by_another_handle_is_there(device: Device) -> None:
    sync_group(device, "+14155550100", BEN, messages=[message(senderId="+14155550100")])

    sync_group(device, ANNA, BEN)

    assert people(device) == ["Anna", "Ben"]


def test_without_a_list_nothing_is_said(device: Device) -> None:
    sync_group(device, ANNA, BEN)
    sync_group(device, ANNA)

    sync_group(device, messages=[message(senderId=BEN), message(senderId="carl@example.com")])

    assert people(device) == ["Anna", "carl@example.com"]


def test_the_group_is_known_by_its_identifier_too(device: Device) -> None:
    for listed in ([ANNA, BEN], [ANNA]):
        sync(device, [], name="SMS;+;chat2", participantIds=listed)

    assert people(device) == ["Anna"]
