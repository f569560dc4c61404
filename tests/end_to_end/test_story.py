"""The main job, from pairing to a sample, with the real model."""

from tests.end_to_end.client import THREAD, draft, draft_events, synced_thread
from tests.factories import Device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import MlServiceProcess


def test_a_synced_message_gets_a_draft_that_is_edited_and_becomes_a_sample(device: Device) -> None:
    message_id = synced_thread(device)

    events = list(draft_events(device, message_id))

    *tokens, (last, completed) = events
    assert {name for name, _ in tokens} == {"token"}
    assert last == "completed"
    assert "".join(data["text"] for _, data in tokens) == completed["response"]
    assert completed["modelVersion"] == "smollm2-135m-instruct"
    assert 0 < completed["confidence"] <= 1
    assert 0 < completed["tokensUsed"] <= 40

    edited = {"action": "edit", "editedResponse": "9 is perfect, i'll have coffee ready"}
    acted = device.client.post(f"/api/responses/{completed['responseId']}/action", json=edited)

    assert acted.status_code == 200
    (sample,) = device.client.get("/api/training/samples").json()["samples"]
    assert sample["id"] == acted.json()["sampleId"]
    assert sample["input"] == THREAD[-1]
    assert sample["output"] == edited["editedResponse"]
    assert sample["rejectedOutput"] == completed["response"]


def test_the_same_question_again_is_answered_from_the_cache(device: Device) -> None:
    message_id = synced_thread(device)

    first, second = draft(device, message_id).json(), draft(device, message_id).json()

    assert (first["cached"], second["cached"]) == (False, True)
    assert first["response"] == second["response"]


def test_no_log_holds_what_people_wrote_or_what_lets_them_in(
    device: Device, whole_system: GatewayProcess, model_service: MlServiceProcess
) -> None:
    secret = "the heron nests behind the boathouse"
    message_id = synced_thread(device, secret)
    device.client.headers["X-Request-Id"] = "story-1"
    completed = list(draft_events(device, message_id))[-1][1]

    logs = "".join(service.log_with('"request_id":"story-1"') for service in (whole_system, model_service))

    assert secret not in logs
    assert completed["response"] not in logs
    assert device.token not in logs
    assert device.refresh_token not in logs
