"""What a client app does, in a few words each."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
from assistant_client.sse import EventParser

from tests.factories import Device
from tests.fixtures.waiting import ENGINE_SECONDS

THREAD = (
    "Hey! Are we still on for the lake this weekend?",
    "yes!! looking forward to it",
    "Great. What time should I pick you up on Saturday?",
)


def synced_thread(device: Device, *texts: str) -> str:
    """Sync a thread whose messages come in turn from the other side and from the owner; returns the id of the last one."""
    messages = [
        {
            "imessageGuid": str(uuid4()),
            "senderId": "sam@example.com" if number % 2 == 0 else "me",
            "direction": "incoming" if number % 2 == 0 else "outgoing",
            "messageType": "text",
            "text": text,
            "sentAt": f"2026-03-06T17:{number:02d}:00Z",
        }
        for number, text in enumerate(texts or THREAD)
    ]
    body = {
        "conversationImessageId": str(uuid4()),
        "conversationDisplayName": "Sam",
        "isGroup": False,
        "participantIds": ["sam@example.com"],
        "messages": messages,
    }
    answer = device.client.post("/api/sync/messages", json=body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["messages"][-1]["id"])


def draft_events(device: Device, message_id: str, max_tokens: int = 40) -> Iterator[tuple[str, dict[str, Any]]]:
    """Ask for a streamed draft; yields each event's name and data as they come."""
    body = {"messageId": message_id, "context": {"maxTokens": max_tokens}}
    headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    with device.client.stream("POST", "/api/responses/generate", json=body, headers=headers, timeout=ENGINE_SECONDS) as answer:
        assert answer.status_code == 200, answer.read()
        yield from events_of(answer)


def events_of(answer: httpx.Response) -> Iterator[tuple[str, dict[str, Any]]]:
    """Server-sent events, each with its name and its data."""
    parser = EventParser()
    for chunk in answer.iter_bytes():
        for sent in parser.feed(chunk):
            if sent.data:
                yield sent.name, json.loads(sent.data)


def draft(device: Device, message_id: str, **context: Any) -> Any:
    """Ask for a draft and wait for the answer."""
    return device.client.post(
        "/api/responses/generate", json={"messageId": message_id, "context": {"maxTokens": 24, **context}}, timeout=ENGINE_SECONDS
    )
