"""An owner with a voice of its own, from the synced history to the trained adapter, as a client app goes about it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from tests.factories import Device
from tests.fixtures.waiting import ENGINE_SECONDS, eventually

QUESTIONS = (
    "are you coming tonight?",
    "did you eat already?",
    "what about the tickets?",
    "is it raining there?",
    "shall we take the train?",
    "how was the film?",
    "where did you park?",
    "is the shop still open?",
    "can you call me later?",
    "who made the cake?",
)
NEW_QUESTION = "do you have time on Friday?"
MODEL = "smollm2-135m-instruct"


def sync_history(device: Device, word: str) -> None:
    """Questions that were answered by the same two words, each in a thread of its own, so that no prompt gives them away."""
    begin = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
    for number, question in enumerate(QUESTIONS):
        asked = begin + timedelta(days=number)
        answer = _message("me", f"{word} {word}", asked + timedelta(minutes=1))
        _sync(device, [_message("sam@example.com", question, asked), answer])


def new_message(device: Device, text: str = NEW_QUESTION) -> str:
    """A message in a thread of its own, without any history; its id."""
    return str(_sync(device, [_message("alex@example.com", text, datetime(2026, 3, 1, 9, 0, tzinfo=UTC))])["messages"][0]["id"])


def import_history(device: Device) -> int:
    """How many samples came of it."""
    answer = device.client.post("/api/training/samples/import", json={})
    assert answer.status_code == 200, answer.text
    return int(answer.json()["imported"])


def start_training(device: Device, **changes: Any) -> str:
    """Start a job that is long enough to learn two words; its id."""
    body = {"baseModel": MODEL, "epochs": 3, "learningRate": 0.006, **changes}
    answer = device.client.post("/api/training/start", json=body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job"]["id"])


def training(device: Device, job_id: str) -> dict[str, Any]:
    answer = device.client.get(f"/api/training/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["job"])


def trained(device: Device, job_id: str, seconds: float = ENGINE_SECONDS) -> dict[str, Any]:
    """The job, once it has ended."""
    eventually(lambda: training(device, job_id)["status"] in ("completed", "failed", "cancelled"), seconds=seconds)
    return training(device, job_id)


def likeliest_draft(device: Device, message_id: str) -> dict[str, Any]:
    """A draft without chance."""
    body = {"messageId": message_id, "context": {"maxTokens": 8, "temperature": 0}}
    answer = device.client.post("/api/responses/generate", json=body, timeout=ENGINE_SECONDS)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _message(sender: str, text: str, at: datetime) -> dict[str, Any]:
    return {
        "imessageGuid": str(uuid4()), "senderId": sender, "direction": "outgoing" if sender == "me" else "incoming", "messageType": "text",
        "text": text, "sentAt": at.isoformat(),
    }  # fmt: skip


def _sync(device: Device, messages: list[dict[str, Any]]) -> dict[str, Any]:
    other = next(message["senderId"] for message in messages if message["direction"] == "incoming")
    body = {"conversationImessageId": str(uuid4()), "isGroup": False, "participantIds": [other], "messages": messages}
    answer = device.client.post("/api/sync/messages", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
