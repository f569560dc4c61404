"""What the other devices of an account are told of drafts, syncs and retractions; on another gateway than the one that was asked."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from websockets.sync.client import ClientConnection

from gateway.database import Database
from gateway.events.publisher import EventPublisher
from gateway.responses.results import fail_abandoned
from tests.factories import Device, own_rows, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import WITHIN_A_SECOND, eventually
from tests.gateway.events.readers import listening, received, until, with_publisher
from tests.gateway.responses.situations import DRAFT, drafted, line, only_draft, queued, read, synced
from tests.gateway.responses.situations import received as message_received


@pytest.fixture
def owner(drafting_gateway: GatewayProcess) -> Device:
    """A device of a new account."""
    return paired_device(drafting_gateway.url)


@pytest.fixture
def elsewhere(replica: GatewayProcess, owner: Device) -> Iterator[ClientConnection]:
    """The account's second device, on a gateway that writes no drafts."""
    with listening(replica.url, paired_device(replica.url, owner).token) as socket:
        yield socket


@contextmanager
def watching(gateway: GatewayProcess, owner: Device) -> Iterator[ClientConnection]:
    with listening(gateway.url, owner.token, "?tokens=true") as socket:
        yield socket


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def test_a_sync_that_changes_something_is_told(owner: Device, elsewhere: ClientConnection) -> None:
    messages = [line("Dinner?"), line("On Friday?")]
    synced(owner, messages, "thread")
    synced(owner, messages, "thread")
    synced(owner, [*messages, line("Yes", "outgoing")], "thread")

    first, second = received(elsewhere, 2)

    assert first["type"] == "sync:completed"
    assert {name: first["data"][name] for name in ("created", "updated", "unchanged")} == {"created": 2, "updated": 0, "unchanged": 0}
    assert second["data"] == {"conversationId": first["data"]["conversationId"], "created": 1, "updated": 0, "unchanged": 2}


def test_a_draft_is_told_as_it_is_read(owner: Device, elsewhere: ClientConnection) -> None:
    draft = drafted(owner, message_received(owner))

    _, generating, completed = received(elsewhere, 3)

    assert types([generating, completed]) == ["response:generating", "response:completed"]
    assert completed["data"] == read(owner, draft["responseId"])
    assert generating["data"] == {
        **completed["data"],
        **dict.fromkeys(["response", "confidence", "modelVersion", "tokensUsed", "completedAt"]),
        "status": "generating",
    }


def test_a_waiting_draft_can_be_watched_growing(replica: GatewayProcess, owner: Device) -> None:
    with watching(replica, owner) as socket:
        draft = drafted(owner, message_received(owner))
        events = until(socket, "response:completed")

    tokens = [event["data"] for event in events if event["type"] == "response:token"]
    assert types(events)[:2] == ["sync:completed", "response:generating"]
    assert "".join(token["text"] for token in tokens) == DRAFT
    assert [token["sequence"] for token in tokens] == list(range(len(tokens)))
    assert {token["responseId"] for token in tokens} == {draft["responseId"]}
    assert len(tokens) > 5


def test_who_begins_to_watch_in_the_middle_gets_what_there_is(
    drafting_gateway: GatewayProcess, replica: GatewayProcess, owner: Device, ml_service: ScriptedMlService
) -> None:
    message_id = message_received(owner)
    with (
        ml_service.paced(0.5),
        owner.client.stream(
            "POST", "/api/responses/generate", json={"messageId": message_id}, headers={"Accept": "text/event-stream"}
        ) as answer,
    ):
        lines = answer.iter_lines()
        for _ in range(8):  # the fourth token
            next(lines)
        with watching(replica, owner) as socket:
            events = until(socket, "response:token")
            ml_service.pace(0.05)
            events += until(socket, "response:completed")
        list(lines)

    first, *others = [event["data"] for event in events if event["type"] == "response:token"]
    assert first["sequence"] == 0
    assert len(first["text"]) > len(others[0]["text"])
    assert first["text"] + "".join(token["text"] for token in others) == DRAFT


def test_a_cancelled_draft_is_told_once(owner: Device, elsewhere: ClientConnection, ml_service: ScriptedMlService) -> None:
    message_id = message_received(owner)
    with (
        ml_service.paced(1),
        owner.client.stream(
            "POST", "/api/responses/generate", json={"messageId": message_id}, headers={"Accept": "text/event-stream"}
        ) as answer,
    ):
        lines = answer.iter_lines()
        next(lines)
        response_id = only_draft(owner)["responseId"]
        for _ in range(2):
            owner.client.post(f"/api/responses/{response_id}/cancel")
        list(lines)
    synced(owner, [line("the end")])

    events = received(elsewhere, 4)

    assert types(events) == ["sync:completed", "response:generating", "response:cancelled", "sync:completed"]
    assert events[2]["data"] == read(owner, response_id)


def test_a_failed_draft_is_told_with_its_reason(gateway: GatewayProcess, replica: GatewayProcess) -> None:
    owner = paired_device(gateway.url)
    with listening(replica.url, owner.token) as socket:
        owner.client.post("/api/responses/generate", json={"messageId": message_received(owner)})
        _, _, failed = received(socket, 3)

    assert failed["type"] == "response:failed"
    assert failed["data"] == read(owner, failed["data"]["responseId"])
    assert failed["data"]["error"]


def test_a_retraction_withdraws_drafts_from_the_readers_and_from_replay(
    owner: Device, replica: GatewayProcess, elsewhere: ClientConnection
) -> None:
    message = line("Dinner on Friday?")
    (message_id,) = synced(owner, [message], "thread")
    drafted(owner, message_id)
    synced(owner, [{**message, "retractedAt": message["sentAt"], "text": None}], "thread")

    events = received(elsewhere, 5)
    with listening(replica.url, owner.token, "?after=0") as late:
        replayed = received(late, 2)

    assert types(events)[2:] == ["response:completed", "response:cancelled", "sync:completed"]
    assert (events[3]["data"]["status"], events[3]["data"]["response"]) == ("cancelled", None)
    assert types(replayed) == ["response:cancelled", "sync:completed"]


def test_a_deleted_conversation_is_not_replayed(owner: Device, replica: GatewayProcess) -> None:
    message_id = message_received(owner)
    conversation_id = drafted(owner, message_id)["conversationId"]
    assert owner.client.delete(f"/api/conversations/{conversation_id}").status_code < 300
    synced(owner, [line("Another thread")])

    with listening(replica.url, owner.token, "?after=0") as late:
        (event,) = received(late)

    assert event["type"] == "sync:completed"
    assert event["data"]["conversationId"] != conversation_id


def test_a_client_that_leaves_has_its_draft_cancelled_and_told(
    owner: Device, elsewhere: ClientConnection, ml_service: ScriptedMlService
) -> None:
    message_id = message_received(owner)
    with ml_service.paced(0.5):
        with owner.client.stream(
            "POST", "/api/responses/generate", json={"messageId": message_id}, headers={"Accept": "text/event-stream"}
        ) as answer:
            next(answer.iter_lines())
        eventually(lambda: only_draft(owner)["status"] == "cancelled")

    assert types(received(elsewhere, 3)) == ["sync:completed", "response:generating", "response:cancelled"]


def test_a_draft_whose_gateway_was_killed_is_told_when_it_is_found(
    owner: Device, elsewhere: ClientConnection, database_url: str, redis_url: str
) -> None:
    ids = own_rows(database_url, owner)
    rows(
        database_url,
        "update response set status = 'generating', text = null, created_at = now() - interval '1 day' where id = $1",
        ids["response_id"],
    )

    async def sweep(publisher: EventPublisher) -> None:
        database = Database(database_url, 1)
        await database.open()
        await fail_abandoned(database, publisher, timedelta(hours=1))
        await database.close()

    with_publisher(redis_url, sweep)

    assert read(owner, ids["response_id"])["status"] == "failed"

    (failed,) = received(elsewhere)
    assert (failed["type"], failed["data"]) == ("response:failed", read(owner, ids["response_id"]))


def test_everything_that_goes_out_is_as_documented(drafting_gateway: GatewayProcess, owner: Device) -> None:
    with watching(drafting_gateway, owner) as socket:
        drafted(owner, message_received(owner))
        events = until(socket, "response:completed")

    document = owner.client.get("/openapi.json").json()
    allowed = document["components"]["schemas"]["Event"]["properties"]["type"]["enum"]
    assert {event["type"] for event in events} <= set(allowed)
    assert all(set(event) == {"id", "type", "at", "data"} and event["at"].endswith("Z") for event in events)


def test_drafts_whose_conversation_is_deleted_end_once_each(
    owner: Device, elsewhere: ClientConnection, ml_service: ScriptedMlService
) -> None:
    ids = synced(owner, [line(f"Question {number}") for number in range(3)], "thread")
    received(elsewhere)
    with ml_service.paced(2), ThreadPoolExecutor(3) as pool:  # left alone each would take 28 seconds
        waiting = [pool.submit(owner.client.post, "/api/responses/generate", json={"messageId": message_id}) for message_id in ids]
        began = received(elsewhere, 3)
        (conversation,) = owner.client.get("/api/conversations").json()["conversations"]
        eventually(lambda: ml_service.running == 3)

        owner.client.delete(f"/api/conversations/{conversation['id']}").raise_for_status()

        ends = received(elsewhere, 3)
        answers = [each.result(WITHIN_A_SECOND).json()["status"] for each in waiting]
    synced(owner, [line("And now?")], "another thread")
    then = received(elsewhere)

    assert types(began) == ["response:generating"] * 3
    assert types(ends) == ["response:cancelled"] * 3
    assert {end["data"]["responseId"] for end in ends} == {begin["data"]["responseId"] for begin in began}
    assert answers == ["cancelled"] * 3
    assert types(then) == ["sync:completed"]


def test_a_draft_that_waits_in_the_queue_ends_with_its_conversation(owner: Device, elsewhere: ClientConnection) -> None:
    message_id = message_received(owner)
    received(elsewhere)
    response_id = queued(owner, message_id)
    (conversation,) = owner.client.get("/api/conversations").json()["conversations"]

    owner.client.delete(f"/api/conversations/{conversation['id']}").raise_for_status()

    (end,) = received(elsewhere)
    assert (end["type"], end["data"]["responseId"]) == ("response:cancelled", response_id)


def test_what_a_device_waits_for_ends_when_it_is_deactivated(
    owner: Device, elsewhere: ClientConnection, drafting_gateway: GatewayProcess, ml_service: ScriptedMlService
) -> None:
    lost = paired_device(drafting_gateway.url, owner)
    ids = synced(owner, [line("Dinner?"), line("On Friday?")])
    received(elsewhere)
    with ml_service.paced(2), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(lost.client.post, "/api/responses/generate", json={"messageId": ids[0]})
        received(elsewhere)
        body, headers = {"messageId": ids[1]}, {"Accept": "text/event-stream"}
        with lost.client.stream("POST", "/api/responses/generate", json=body, headers=headers) as answer:
            lines = answer.iter_lines()
            next(lines)
            received(elsewhere)

            owner.client.post(f"/api/devices/{lost.device_id}/deactivate").raise_for_status()

            last = [name for name in lines if name.startswith("event: ")][-1]
        ends = received(elsewhere, 3)

    assert last == "event: cancelled"
    assert waiting.result().json()["status"] == "cancelled"
    assert sorted(types(ends)) == ["device:deactivated", "response:cancelled", "response:cancelled"]


def test_what_other_devices_wait_for_goes_on(owner: Device, drafting_gateway: GatewayProcess, ml_service: ScriptedMlService) -> None:
    lost = paired_device(drafting_gateway.url, owner)
    message_id = message_received(owner)
    with ml_service.paced(0.1), ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(drafted, owner, message_id)
        eventually(lambda: owner.client.get("/api/responses", params={"status": "generating"}).json()["total"] == 1)
        owner.client.post(f"/api/devices/{lost.device_id}/deactivate").raise_for_status()

    assert waiting.result()["status"] == "completed"


def test_a_stream_ends_when_its_account_is_deleted(owner: Device, drafting_gateway: GatewayProcess, ml_service: ScriptedMlService) -> None:
    other = paired_device(drafting_gateway.url, owner)
    body, headers = {"messageId": message_received(owner)}, {"Accept": "text/event-stream"}
    with ml_service.paced(2), owner.client.stream("POST", "/api/responses/generate", json=body, headers=headers) as answer:
        lines = answer.iter_lines()
        next(lines)
        other.client.request("DELETE", "/api/account", json={"confirm": str(owner.account_id)}).raise_for_status()

        assert [name for name in lines if name.startswith("event: ")][-1] == "event: cancelled"
