"""Queued drafts that nobody wants any more: cancelled, or made from what was retracted or deleted."""

from collections.abc import Iterator
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import pytest

from tests.factories import Device
from tests.fixtures.database import rows
from tests.fixtures.queue_system import QueueSystem
from tests.fixtures.waiting import PATIENCE_SECONDS, WITHIN_A_SECOND, eventually
from tests.gateway.responses.situations import ended, line, queued, read, synced

NOW = datetime.now(UTC).isoformat()


@pytest.fixture
def owner(queue_system: QueueSystem) -> Device:
    """A device of a new account."""
    return queue_system.new_device()


@pytest.fixture
def slow(queue_system: QueueSystem) -> Iterator[None]:
    """Drafts take half a minute."""
    with queue_system.ml.paced(2):
        yield


def generating(device: Device, message_id: str | None = None) -> str:
    """The id of a queued draft whose turn has come."""
    response_id = queued(device, message_id)
    eventually(lambda: read(device, response_id)["status"] == "generating")
    return response_id


def job_status(system: QueueSystem, response_id: str) -> str | None:
    """What the ML service says of the draft's job; None when it knows of none."""
    answer = httpx.get(f"{system.ml.url}/generate/status/{response_id}", timeout=PATIENCE_SECONDS)
    return None if answer.status_code == 404 else str(answer.json()["status"])


def test_one_that_waits_never_begins(owner: Device, queue_system: QueueSystem) -> None:
    generations = queue_system.ml.generations
    with queue_system.without_workers():
        response_id = queued(owner)
        cancelled = owner.client.post(f"/api/responses/{response_id}/cancel")
        eventually(lambda: job_status(queue_system, response_id) == "cancelled")

    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert cancelled.json() == read(owner, response_id) == owner.client.post(f"/api/responses/{response_id}/cancel").json()
    assert queue_system.ml.generations == generations
    eventually(lambda: queue_system.told(owner) == [("response:cancelled", response_id)])


@pytest.mark.usefixtures("slow")
def test_one_that_runs_frees_the_engine_within_a_second(owner: Device, queue_system: QueueSystem) -> None:
    aborted = queue_system.ml.aborted_before()
    response_id = generating(owner)
    eventually(lambda: queue_system.told(owner) == [("response:generating", response_id)])

    cancelled = owner.client.post(f"/api/responses/{response_id}/cancel")

    assert cancelled.json()["status"] == "cancelled"
    eventually(lambda: queue_system.ml.aborted == aborted + 1, WITHIN_A_SECOND)
    eventually(lambda: _job_is_forgotten(queue_system, response_id))
    eventually(lambda: queue_system.told(owner) == [("response:generating", response_id), ("response:cancelled", response_id)])


@pytest.mark.usefixtures("slow")
def test_through_another_gateway(owner: Device, queue_system: QueueSystem) -> None:
    aborted = queue_system.ml.aborted_before()
    response_id = generating(owner)

    queue_system.elsewhere(owner).client.post(f"/api/responses/{response_id}/cancel")

    assert read(owner, response_id)["status"] == "cancelled"
    eventually(lambda: queue_system.ml.aborted == aborted + 1, WITHIN_A_SECOND)


def test_what_has_ended_is_not_cancelled(owner: Device) -> None:
    draft = ended(owner, queued(owner))

    assert owner.client.post(f"/api/responses/{draft['responseId']}/cancel").status_code == 409
    assert read(owner, draft["responseId"]) == draft


def test_a_strangers_is_unknown(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        assert queue_system.new_device().client.post(f"/api/responses/{response_id}/cancel").status_code == 404
    assert ended(owner, response_id)["status"] == "completed"


@pytest.mark.parametrize("change", [{"text": None, "retractedAt": NOW}, {"text": "Other words", "editedAt": NOW}], ids=["retract", "edit"])
def test_a_message_of_one_that_waits_is_changed(owner: Device, queue_system: QueueSystem, change: dict[str, str | None]) -> None:
    thread, first = uuid4().hex, line("My secret", sentAt="2026-01-01T12:00:00Z")
    message_id = synced(owner, [first, line("Dinner on Friday?", sentAt="2026-01-01T13:00:00Z")], thread)[1]
    generations = queue_system.ml.generations
    with queue_system.without_workers():
        response_id = queued(owner, message_id)
        synced(owner, [{**first, **change}], thread)
        withdrawn = read(owner, response_id)
        eventually(lambda: job_status(queue_system, response_id) is None)

    assert (withdrawn["status"], "retracted" in withdrawn["error"]) == ("cancelled", True)
    assert queue_system.ml.generations == generations
    assert _kept(queue_system, response_id) == [(None, None)]
    eventually(lambda: queue_system.told(owner) == [("response:cancelled", response_id)])


@pytest.mark.usefixtures("slow")
def test_a_message_of_one_that_runs_is_retracted(owner: Device, queue_system: QueueSystem) -> None:
    thread, message = uuid4().hex, line("Dinner on Friday?")
    aborted = queue_system.ml.aborted_before()
    response_id = generating(owner, synced(owner, [message], thread)[0])
    eventually(lambda: queue_system.told(owner) == [("response:generating", response_id)])

    synced(owner, [{**message, "text": None, "retractedAt": NOW}], thread)

    eventually(lambda: queue_system.ml.aborted == aborted + 1)
    eventually(lambda: _job_is_forgotten(queue_system, response_id))
    assert (read(owner, response_id)["status"], read(owner, response_id)["response"]) == ("cancelled", None)
    eventually(lambda: queue_system.told(owner) == [("response:cancelled", response_id)])  # what was told before is taken back


def test_other_drafts_of_the_thread_stay(owner: Device, queue_system: QueueSystem) -> None:
    thread, first = uuid4().hex, line("My secret", sentAt="2026-01-01T12:00:00Z")
    message_id = synced(owner, [first, line("Dinner on Friday?", sentAt="2026-01-01T13:00:00Z")], thread)[1]
    with queue_system.without_workers():
        response_id = queued(owner, message_id, context={"maxHistory": 1})
        synced(owner, [{**first, "text": None, "retractedAt": NOW}], thread)

    assert ended(owner, response_id)["status"] == "completed"


def test_the_jobs_of_a_deleted_conversation_are_forgotten(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        (conversation,) = owner.client.get("/api/conversations").json()["conversations"]
        owner.client.delete(f"/api/conversations/{conversation['id']}")

        eventually(lambda: job_status(queue_system, response_id) is None)

    assert owner.client.get(f"/api/responses/{response_id}").status_code == 404
    assert queue_system.told(owner) == [("response:cancelled", response_id)]


def test_a_job_that_could_not_be_cancelled_is_cancelled_later(owner: Device, queue_system: QueueSystem) -> None:
    with queue_system.without_workers():
        response_id = queued(owner)
        queue_system.ml.kill()
        cancelled = owner.client.post(f"/api/responses/{response_id}/cancel")
        queue_system.ml.start()
        eventually(lambda: _look(queue_system) and job_status(queue_system, response_id) == "cancelled")

    assert cancelled.json()["status"] == "cancelled"
    eventually(lambda: queue_system.told(owner) == [("response:cancelled", response_id)])


def _look(system: QueueSystem) -> bool:
    system.look_now()
    return True


def _job_is_forgotten(system: QueueSystem, response_id: str) -> bool:
    """Whether the gateways know that there is no open job any more."""
    (row,) = rows(system.postgres.url, "select request from response where id = $1", response_id)
    return row["request"] is None


def _kept(system: QueueSystem, response_id: str) -> list[tuple[object, object]]:
    return [tuple(row) for row in rows(system.postgres.url, "select text, messages from response where id = $1", response_id)]
