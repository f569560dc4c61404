"""What the tests of drafts begin with."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from tests.factories import Device
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually

DRAFT = "Sounds good, see you then! Let me know if anything changes."
"""What the scripted engine always says; 14 tokens with a probability of one half each."""


def line(text: str | None, direction: str = "incoming", **changes: Any) -> dict[str, Any]:
    """A message as a client sends it, of now."""
    message = {
        "imessageGuid": uuid4().hex,
        "senderId": "sam@example.com" if direction == "incoming" else "me",
        "direction": direction,
        "messageType": "text",
        "text": text,
        "sentAt": datetime.now(UTC).isoformat(),
    }
    return {**message, **changes}


def synced(device: Device, messages: Sequence[dict[str, Any]], thread: str | None = None) -> list[str]:
    """Sync messages into a thread, by default a new one; their ids in the order sent."""
    body = {
        "conversationImessageId": thread or uuid4().hex,
        "conversationDisplayName": "Sam",
        "isGroup": False,
        "participantIds": ["sam@example.com"],
        "messages": list(messages),
    }
    answer = device.client.post("/api/sync/messages", json=body)
    assert answer.status_code == 200, answer.text
    return [message["id"] for message in answer.json()["messages"]]


def received(device: Device, text: str = "Dinner on Friday?") -> str:
    """The id of an incoming message in a thread of its own."""
    return synced(device, [line(text)])[0]


def conversation(count: int, text: str = "and then") -> list[dict[str, Any]]:
    """Messages of both sides, ten minutes apart, of which the last is incoming."""
    began = datetime.now(UTC) - timedelta(days=30)
    return [
        line(
            f"{text} {number}",
            "incoming" if (count - number) % 2 else "outgoing",
            sentAt=(began + timedelta(minutes=10 * number)).isoformat(),
        )
        for number in range(count)
    ]


def drafted(device: Device, message_id: str, **context: Any) -> dict[str, Any]:
    """A completed draft."""
    answer = device.client.post("/api/responses/generate", json={"messageId": message_id, "context": context})
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def ask_later(device: Device, message_id: str, *, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """Ask for a draft that nobody waits for."""
    all_headers = {"Prefer": "respond-async", "Cache-Control": "no-cache", **(headers or {})}
    return device.client.post("/api/responses/generate", json={"messageId": message_id, **body}, headers=all_headers)


def queued(device: Device, message_id: str | None = None, **body: Any) -> str:
    """The id of an accepted draft, by default of a new message."""
    answer = ask_later(device, message_id or received(device), **body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["responseId"])


def ended(device: Device, response_id: str, seconds: float = PATIENCE_SECONDS) -> dict[str, Any]:
    """A draft that has ended, one way or the other."""
    eventually(lambda: read(device, response_id)["status"] not in ("queued", "generating"), seconds)
    return read(device, response_id)


def read(device: Device, response_id: str | UUID) -> dict[str, Any]:
    answer = device.client.get(f"/api/responses/{response_id}")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def only_draft(device: Device) -> dict[str, Any]:
    """The account's one draft, in whatever state."""
    (draft,) = device.client.get("/api/responses").json()["responses"]
    return dict(draft)
