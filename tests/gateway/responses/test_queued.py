"""Drafts that nobody waits for: `Prefer: respond-async`."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.sync.client import ClientConnection

from tests.factories import Device
from tests.fixtures.database import rows
from tests.fixtures.queue_system import QueueSystem
from tests.fixtures.waiting import eventually
from tests.gateway.events.readers import listening, until
from tests.gateway.responses.situations import DRAFT, ask_later, conversation, drafted, ended, line, queued, read, received, synced
from tests.gateway.responses.test_feedback import act, samples


@pytest.fixture
def owner(queue_system: QueueSystem) -> Device:
    """A device of a new account."""
    return queue_system.new_device()


def of_a_draft(socket: ClientConnection) -> list[dict[str, Any]]:
    """The events of a draft, without that of the message before it, which may come late."""
    return [event for event in until(socket, "response:completed") if event["type"].startswith("response:")]


def test_is_accepted_at_once_and_written_later(owner: Device, queue_system: QueueSystem) -> None:
    answer = ask_later(owner, received(owner))

    response_id = answer.json()["responseId"]
    assert answer.status_code == 202
    assert answer.json() == {"responseId": response_id, "status": "queued"}
    assert answer.headers["Location"] == f"/api/responses/{response_id}"
    assert answer.headers["Preference-Applied"] == "respond-async"

    draft = ended(owner, response_id)
    waited_for = drafted(owner, received(owner, "Lunch on Monday?"))
    told_apart = {"responseId", "conversationId", "messageId", "createdAt"}
    assert {name: draft[name] for name in waited_for if name not in told_apart} == {
        name: value for name, value in waited_for.items() if name not in told_apart
    }
    eventually(lambda: len(queue_system.told(owner)) == 4)
    assert queue_system.told(owner)[:2] == [("response:generating", response_id), ("response:completed", response_id)]


def test_its_state_can_be_seen(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        waiting = read(owner, response_id)
        queue_system.ml.pace(1)
    eventually(lambda: read(owner, response_id)["status"] == "generating")
    running = owner.client.get("/api/responses", params={"status": "generating"}).json()
    queue_system.ml.pace(0)

    assert (waiting["status"], waiting["response"], waiting["completedAt"]) == ("queued", None, None)
    assert [draft["responseId"] for draft in running["responses"]] == [response_id]
    assert ended(owner, response_id)["response"] == DRAFT


@pytest.mark.parametrize("preference", ["Respond-Async", "respond-async, wait=10", "return=minimal,respond-async; now"])
def test_the_preference_in_all_its_forms(owner: Device, preference: str) -> None:
    assert ask_later(owner, received(owner), headers={"Prefer": preference}).status_code == 202


def test_other_preferences_change_nothing(owner: Device) -> None:
    answer = ask_later(owner, received(owner), headers={"Prefer": "return=minimal, wait=5, x=respond-async"})

    assert (answer.status_code, answer.json()["response"]) == (200, DRAFT)
    assert "Preference-Applied" not in answer.headers


def test_whoever_wants_a_stream_gets_a_stream(owner: Device) -> None:
    answer = ask_later(owner, received(owner), headers={"Accept": "text/event-stream"})

    assert (answer.status_code, answer.headers["Content-Type"]) == (200, "text/event-stream")


def test_what_cannot_be_answered_is_not_accepted(owner: Device) -> None:
    own, picture = synced(owner, [line("On my way", "outgoing"), line(None, messageType="attachment")])

    assert [ask_later(owner, message_id).status_code for message_id in (own, picture, str(uuid4()))] == [400, 400, 404]
    assert owner.client.get("/api/responses").json()["total"] == 0


def test_a_strangers_message_is_unknown(owner: Device, queue_system: QueueSystem) -> None:
    assert ask_later(queue_system.new_device(), received(owner)).status_code == 404


def test_the_same_key_is_the_same_draft(owner: Device) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    message_id = received(owner)
    first, again = (ask_later(owner, message_id, headers=key) for _ in range(2))
    other = ask_later(owner, message_id, headers=key, n=2)

    assert (again.status_code, again.json(), other.status_code) == (202, first.json(), 422)
    assert [again.headers[name] for name in ("Location", "Preference-Applied")] == [
        first.headers[name] for name in ("Location", "Preference-Applied")
    ]
    assert owner.client.get("/api/responses").json()["total"] == 1


def test_a_key_whose_answer_got_lost_with_its_gateway_is_still_the_same_draft(owner: Device, queue_system: QueueSystem) -> None:
    key = {"Idempotency-Key": uuid4().hex}
    message_id = received(owner)
    first = ask_later(owner, message_id, headers=key)
    rows(
        queue_system.postgres.url,
        "update idempotent_answer set answer = null, created_at = now() - interval '16 seconds' where owner = $1",
        str(owner.account_id),
    )

    assert ask_later(queue_system.elsewhere(owner), message_id, headers=key).json() == first.json()
    assert owner.client.get("/api/responses").json()["total"] == 1


def test_several_candidates(owner: Device) -> None:
    draft = ended(owner, queued(owner, n=2))

    assert [candidate["finishReason"] for candidate in draft["candidates"]] == ["stop", "stop"]
    assert (draft["candidates"][0]["text"], draft["tokensUsed"]) == (draft["response"], 28)


def test_it_is_accepted_edited_and_rejected_like_any_other(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        too_early = act(owner, response_id, {"action": "accept"})
    ended(owner, response_id)

    assert too_early.status_code == 409
    assert act(owner, response_id, {"action": "accept"}).status_code == 200
    assert [(sample["responseId"], sample["output"]) for sample in samples(owner)] == [(response_id, DRAFT)]


def test_keeps_of_the_prompt_what_the_model_read(owner: Device, queue_system: QueueSystem) -> None:
    message_id = synced(owner, conversation(60, "word " * 40))[-1]
    later = ended(owner, queued(owner, message_id, context={"maxHistory": 60}))["responseId"]
    waited_for = drafted(owner, message_id, maxHistory=60)["responseId"]

    kept = [
        rows(queue_system.postgres.url, "select messages, message_ids from response where id = $1", UUID(response_id))[0]
        for response_id in (later, waited_for)
    ]
    assert kept[0] == kept[1]
    assert 5 < len(kept[0]["message_ids"]) < 40


def test_an_answer_may_be_a_cached_one_unless_a_fresh_one_is_wanted(owner: Device, queue_system: QueueSystem) -> None:
    message_id = received(owner)
    drafted(owner, message_id)
    generations = queue_system.ml.generations

    cached = ask_later(owner, message_id, headers={"Cache-Control": "max-age=60"}).json()["responseId"]
    fresh = ask_later(owner, message_id).json()["responseId"]

    assert [ended(owner, response_id)["cached"] for response_id in (cached, fresh)] == [True, False]
    assert queue_system.ml.generations == generations + 1


def test_another_device_watches_it_grow(owner: Device, queue_system: QueueSystem) -> None:
    queue_system.ml.pace(0.05)
    with listening(queue_system.gateways[1].url, owner.token, "?tokens=true") as socket:
        response_id = queued(owner, received(owner), n=2)
        events = of_a_draft(socket)
    queue_system.ml.pace(0)

    tokens: list[dict[str, Any]] = [event["data"] for event in events[1:-1]]
    draft = events[-1]["data"]
    assert (events[0]["type"], events[0]["data"]["status"]) == ("response:generating", "generating")
    assert {event["type"] for event in events[1:-1]} == {"response:token"}
    assert {event["data"]["responseId"] for event in events} == {response_id}
    assert [token["sequence"] for token in tokens] == list(range(len(tokens)))
    assert len(tokens) > 6
    for index, candidate in enumerate(draft["candidates"]):
        assert "".join(token["text"] for token in tokens if token["index"] == index) == candidate["text"]


def test_two_devices_see_the_same_events(owner: Device, queue_system: QueueSystem) -> None:
    message_id = received(owner)
    with listening(queue_system.gateways[0].url, owner.token) as here, listening(queue_system.gateways[1].url, owner.token) as there:
        response_id = queued(owner, message_id)

        events = of_a_draft(here)
        assert of_a_draft(there) == events

    assert [event["type"] for event in events] == ["response:generating", "response:completed"]
    assert events[1]["data"] == read(owner, response_id)
