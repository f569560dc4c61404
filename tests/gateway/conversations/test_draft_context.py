"""What a draft starts from, read from the real database."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest

from gateway.conversations.prompt import LONGEST_LINE
from gateway.conversations.service import DraftContext, draft_context
from gateway.database import Database
from shared.errors import NotFound
from tests.factories import Device, message, paired_device, sync
from tests.fixtures.gateway import GatewayProcess

GROUP: dict[str, Any] = {"isGroup": True, "conversationDisplayName": "Trip"}


@pytest.fixture
def device(gateway: GatewayProcess) -> Device:
    return paired_device(gateway.url)


def at(minute: int, text: str | None = None, **changes: Any) -> dict[str, Any]:
    return message(f"m{minute}", **{"text": text or str(minute), "sentAt": f"2024-01-01T12:{minute:02}:00Z", **changes})


def own(minute: int, text: str | None = None) -> dict[str, Any]:
    return at(minute, text, direction="outgoing", senderId="me")


def context(database_url: str, account_id: UUID, message_id: str, max_history: int = 10, named: bool = True) -> DraftContext:
    async def read() -> DraftContext:
        database = Database(database_url, pool_size=1)
        await database.open()
        try:
            async with database.transaction() as db:
                return await draft_context(db, account_id, UUID(message_id), max_history=max_history, include_contact_info=named)
        finally:
            await database.close()

    return asyncio.run(read())


def contents(found: DraftContext) -> list[str]:
    """The turns after the system turn, each with its role's first letter."""
    return [f"{turn.role[0]}: {turn.content}" for turn in found.prompt.turns[1:]]


def test_ends_with_the_message_to_answer_whatever_came_after(device: Device, database_url: str) -> None:
    answer = sync(device, [at(0), own(10), at(20), own(30), at(40)])
    ids = [entry["id"] for entry in answer["messages"]]

    found = context(database_url, device.account_id, ids[2])

    assert contents(found) == ["u: 0", "a: 10", "u: 20"]
    assert [str(each) for each in found.prompt.message_ids] == ids[:3]
    assert (str(found.message.conversation_id), str(found.message.id)) == (answer["conversationId"], ids[2])
    assert (found.message.direction, found.message.message_type, found.message.retracted, found.message.has_text) == (
        "incoming",
        "text",
        False,
        True,
    )


def test_takes_the_last_messages_that_say_something(device: Device, database_url: str) -> None:
    messages = [
        at(0), own(10), at(20),
        at(30, messageType="reaction", associatedMessageGuid="m20", associatedMessageType="like"),
        at(31, messageType="system"), at(32, "  "), at(33, retractedAt="2024-01-01T13:00:00Z"),
        at(40, "\ufffc", messageType="attachment", attachments=[{"mimeType": "image/heic"}]),
        at(50),
    ]  # fmt: skip
    last = sync(device, messages)["messages"][-1]["id"]

    assert contents(context(database_url, device.account_id, last, max_history=4)) == ["a: 10", "u: 20", "u: [image]", "u: 50"]
    assert contents(context(database_url, device.account_id, last, max_history=1)) == ["u: 50"]


def test_names_the_people_of_a_group_by_their_contacts(device: Device, database_url: str) -> None:
    cards = [{"displayName": "Anna", "phoneNumber": "+14155550100", "email": "anna@example.com"}]
    device.client.post("/api/sync/contacts", json={"contacts": cards})
    messages = [at(0), at(1, senderId="ANNA@example.com"), at(2, senderId="+14155550199")]
    last = sync(device, messages, **GROUP)["messages"][-1]["id"]

    named = context(database_url, device.account_id, last)
    nameless = context(database_url, device.account_id, last, named=False)

    assert 'a group chat named "Trip" with Anna.' in named.prompt.turns[0].content
    assert contents(named) == ["u: Anna: 0\n1", "u: Person 1: 2"]
    assert contents(nameless) == ["u: Person 1: 0\n1", "u: Person 2: 2"]


def test_says_what_is_wrong_with_a_message_that_cannot_be_answered(device: Device, database_url: str) -> None:
    answer = sync(device, [at(0, retractedAt="2024-01-01T13:00:00Z"), own(1), at(2, "\ufffc", messageType="attachment")])
    retracted, mine, wordless = (context(database_url, device.account_id, entry["id"]) for entry in answer["messages"])

    assert retracted.message.retracted
    assert mine.message.direction == "outgoing"
    assert (wordless.message.message_type, wordless.message.has_text) == ("attachment", False)


def test_another_accounts_message_is_as_unknown_as_none(device: Device, gateway: GatewayProcess, database_url: str) -> None:
    theirs = sync(paired_device(gateway.url), [at(0)])["messages"][0]["id"]

    for message_id in (theirs, str(uuid4())):
        with pytest.raises(NotFound):
            context(database_url, device.account_id, message_id)


def test_of_a_long_message_the_end_is_read(device: Device, database_url: str) -> None:
    last = sync(device, [at(0, "beginning " + "x" * LONGEST_LINE + " end"), at(20, "y" * LONGEST_LINE + " end")])["messages"][-1]["id"]

    first, second = contents(context(database_url, device.account_id, last))

    assert (len(first), len(second)) == (LONGEST_LINE + 3, LONGEST_LINE + 3)
    assert (first[:4], first[-5:], second[-5:]) == ("u: x", "x end", "y end")
