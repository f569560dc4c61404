"""GET and DELETE /api/training/samples."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import Device, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.responses.situations import conversation, drafted, line, received, synced
from tests.gateway.responses.test_feedback import act


def accepted(device: Device, text: str = "Dinner on Friday?") -> str:
    """The id of a sample."""
    response_id = drafted(device, received(device, text))["responseId"]
    return str(device.client.post(f"/api/responses/{response_id}/action", json={"action": "accept"}).json()["sampleId"])


def test_newest_first_in_pages(owner: Device) -> None:
    ids = [accepted(owner, f"Question {number}") for number in range(3)]

    first = owner.client.get("/api/training/samples?page=1&pageSize=2").json()
    second = owner.client.get("/api/training/samples?page=2&pageSize=2").json()

    assert [sample["id"] for sample in first["samples"] + second["samples"]] == ids[::-1]
    assert [sample["input"] for sample in first["samples"]] == ["Question 2", "Question 1"]
    assert (second["total"], second["page"], second["pageSize"]) == (3, 2, 2)


def test_of_one_source(owner: Device) -> None:
    accepted_id = accepted(owner)
    sync(owner, [line("Dinner?", sentAt="2026-01-01T12:00:00Z"), line("sure", "outgoing", sentAt="2026-01-01T12:01:00Z")])
    owner.client.post("/api/training/samples/import", json={}).raise_for_status()

    def listed(source: str) -> tuple[list[str], int]:
        page = owner.client.get("/api/training/samples", params={"source": source}).json()
        return [sample["source"] for sample in page["samples"]], page["total"]

    assert listed("history") == (["history"], 1)
    assert listed("accept") == (["accept"], 1)
    assert listed("reject") == ([], 0)
    assert accepted_id != owner.client.get("/api/training/samples?source=history").json()["samples"][0]["id"]


def test_none_yet(owner: Device) -> None:
    answer = owner.client.get("/api/training/samples?page=1&pageSize=20")

    assert answer.json() == {"samples": [], "total": 0, "page": 1, "pageSize": 20}


@pytest.mark.parametrize(("field", "value"), [("page", 0), ("pageSize", 0), ("pageSize", 101), ("source", "guess")])
def test_what_cannot_be_listed_is_named(owner: Device, field: str, value: Any) -> None:
    answer = owner.client.get("/api/training/samples", params={field: value})

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)


def test_can_be_deleted(owner: Device) -> None:
    sample_id = accepted(owner)

    assert owner.client.delete(f"/api/training/samples/{sample_id}").status_code == 204
    assert owner.client.get("/api/training/samples").json()["total"] == 0
    assert owner.client.delete(f"/api/training/samples/{sample_id}").status_code == 404


def test_strangers_see_and_delete_nothing(owner: Device, drafting_gateway: GatewayProcess) -> None:
    sample_id = accepted(owner)
    stranger = paired_device(drafting_gateway.url)

    assert stranger.client.get("/api/training/samples").json()["total"] == 0
    assert stranger.client.delete(f"/api/training/samples/{sample_id}").status_code == 404
    assert stranger.client.delete(f"/api/training/samples/{uuid4()}").status_code == 404
    assert owner.client.get("/api/training/samples").json()["total"] == 1


def test_a_sample_of_a_long_thread_has_only_what_the_model_read(owner: Device, database_url: str) -> None:
    """The scripted engine's context is short: the oldest turns of the prompt are dropped, and so they are in the sample."""
    messages = synced(owner, conversation(100, "word " * 200))
    response_id = drafted(owner, messages[-1], maxHistory=100)["responseId"]

    act(owner, response_id, {"action": "accept"})

    (sample,) = rows(
        database_url,
        "select messages::text, message_ids, answered_id, replied_at, created_at from sample where response_id = $1",
        UUID(response_id),
    )
    (response,) = rows(database_url, "select messages::text, message_ids from response where id = $1", UUID(response_id))
    assert (sample["messages"], sample["message_ids"]) == (response["messages"], response["message_ids"])
    assert 0 < len(sample["message_ids"]) < 100
    assert str(sample["answered_id"]) == messages[-1]
    assert sample["replied_at"] == sample["created_at"]


def adapter_that_learnt_from(database_url: str, owner: Device, sample_id: str) -> UUID:
    job_id = uuid4()
    rows(
        database_url,
        "insert into training_job (id, account_id, device_id, status, base_model, method, epochs, learning_rate, sample_ids, created_at,"
        " heard_at) values ($1, $2, $3, 'completed', 'model', 'sft', 3, 0.0001, array[$4::uuid], now(), now())",
        job_id,
        owner.account_id,
        owner.device_id,
        UUID(sample_id),
    )
    rows(
        database_url,
        "insert into adapter (id, account_id, base_model, sample_ids, eval_loss, baseline_eval_loss, created_at)"
        " values ($1, $2, 'model', array[$3::uuid], 2, 2.5, now())",
        job_id,
        owner.account_id,
        UUID(sample_id),
    )
    return job_id


@pytest.mark.parametrize("deleted", ["sample", "message", "conversation"])
def test_adapters_that_learnt_from_what_is_deleted_are_stale(owner: Device, database_url: str, deleted: str) -> None:
    message, name = line("Dinner on Friday?"), uuid4().hex
    response_id = drafted(owner, synced(owner, [message], name)[0])["responseId"]
    sample_id = act(owner, response_id, {"action": "accept"}).json()["sampleId"]
    stale, other = (adapter_that_learnt_from(database_url, owner, each) for each in (sample_id, accepted(owner)))
    conversation_id = owner.client.get(f"/api/responses/{response_id}").json()["conversationId"]
    delete: dict[str, Callable[[], object]] = {
        "sample": lambda: owner.client.delete(f"/api/training/samples/{sample_id}"),
        "message": lambda: synced(owner, [{**message, "text": None, "retractedAt": datetime.now(UTC).isoformat()}], name),
        "conversation": lambda: owner.client.delete(f"/api/conversations/{conversation_id}"),
    }

    delete[deleted]()

    found = rows(database_url, "select id, stale from adapter where account_id = $1", owner.account_id)
    assert {row["id"]: row["stale"] for row in found} == {stale: True, other: False}
    assert owner.client.get("/api/training/samples").json()["total"] == 1


def test_a_retraction_names_the_active_adapter_if_it_learnt_from_the_message(owner: Device, database_url: str) -> None:
    learnt, other, name = line("Dinner on Friday?"), line("And on Saturday?"), uuid4().hex
    message_ids = synced(owner, [learnt, other], name)
    sample_id = act(owner, drafted(owner, message_ids[0])["responseId"], {"action": "accept"}).json()["sampleId"]
    adapter_id = adapter_that_learnt_from(database_url, owner, sample_id)
    rows(database_url, "update adapter set active = true where id = $1", adapter_id)

    def retract(message: dict[str, Any]) -> dict[str, Any]:
        return sync(owner, [{**message, "text": None, "retractedAt": datetime.now(UTC).isoformat()}], name)

    assert "learntByAdapterId" not in retract(other)
    assert retract(learnt)["learntByAdapterId"] == str(adapter_id)
