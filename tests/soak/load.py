"""What several people do all day: they sync, ask for drafts, queue drafts, listen, and train."""

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeAlias
from uuid import uuid4

import httpx

from tests.factories import Device

_AWAY = (httpx.TransportError, httpx.StreamError)
_RETRY_SECONDS = 0.5
_DRAFT_TOKENS = 16


@dataclass
class Person:
    """A device of an account of its own, and what it was promised."""

    device: Device
    queued: dict[str, str] = field(default_factory=dict)
    """Queued drafts that were accepted: the id of each by its Idempotency-Key."""
    unsure: int = 0
    """Requests of which no answer came: the draft may be there or not."""
    direct: set[str] = field(default_factory=set)
    told: dict[str, set[str]] = field(default_factory=dict)
    """Ids of the events that told the end of a draft, by the draft's id."""
    counts: Counter[str] = field(default_factory=Counter)
    messages: list[str] = field(default_factory=list)


Step: TypeAlias = Callable[[httpx.AsyncClient, Person], Awaitable[None]]


async def live(person: Person, stop: asyncio.Event, *, trains: bool) -> None:
    """Do all of it side by side until told to stop."""
    async with _client(person) as client, asyncio.TaskGroup() as group:
        steps: list[tuple[float, Step]] = [(3, _sync), (8, _draft), (5, _queue)]
        if trains:
            steps.append((60, _train))
        for seconds, step in steps:
            group.create_task(_again_and_again(client, person, stop, seconds, step))
        listening = group.create_task(_listen(client, person))
        await stop.wait()
        await _all_ended(client, person)
        listening.cancel()


def _client(person: Person) -> httpx.AsyncClient:
    device = person.device.client
    return httpx.AsyncClient(base_url=device.base_url, headers=device.headers, timeout=120)


async def rows_of(person: Person) -> dict[str, str]:
    """All drafts of the account with their status."""
    statuses: dict[str, str] = {}
    async with _client(person) as client:
        page = 1
        while True:
            found = (await client.get("/api/responses", params={"page": page, "pageSize": 100})).json()["responses"]
            statuses |= {draft["responseId"]: draft["status"] for draft in found}
            if len(found) < 100:
                return statuses
            page += 1


async def _again_and_again(client: httpx.AsyncClient, person: Person, stop: asyncio.Event, seconds: float, step: Step) -> None:
    while not stop.is_set():
        with suppress(*_AWAY):
            await step(client, person)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await stop.wait()


async def _sync(client: httpx.AsyncClient, person: Person) -> None:
    now = datetime.now(UTC).isoformat()
    texts = [("them", f"What about number {uuid4().hex[:6]}?"), ("me", "yes, why not"), ("them", "Great, when shall we meet?")]
    messages = [
        {
            "imessageGuid": str(uuid4()),
            "senderId": sender,
            "direction": "incoming" if sender == "them" else "outgoing",
            "messageType": "text",
            "text": text,
            "sentAt": now,
        }
        for sender, text in texts
    ]
    answer = await client.post("/api/sync/messages", json={"conversationImessageId": "soak", "isGroup": False, "messages": messages})
    person.counts[f"sync {answer.status_code}"] += 1
    if answer.status_code == 200:
        person.messages = [answer.json()["messages"][-1]["id"]]


async def _draft(client: httpx.AsyncClient, person: Person) -> None:
    if not person.messages:
        return
    body = {"messageId": person.messages[-1], "context": {"maxTokens": _DRAFT_TOKENS}}
    try:
        answer = await client.post("/api/responses/generate", json=body, headers={"Cache-Control": "no-cache"})
    except _AWAY:
        person.unsure += 1
        raise
    person.counts[f"draft {answer.status_code}"] += 1
    if answer.status_code == 200:
        person.direct.add(answer.json()["responseId"])
    elif answer.status_code >= 500:
        person.unsure += 1


async def _queue(client: httpx.AsyncClient, person: Person) -> None:
    """Ask until there is an answer, under one key: it makes one draft, however often it is asked."""
    if not person.messages:
        return
    key = str(uuid4())
    headers = {"Prefer": "respond-async", "Cache-Control": "no-cache", "Idempotency-Key": key}
    body = {"messageId": person.messages[-1], "context": {"maxTokens": _DRAFT_TOKENS}}
    for _ in range(60):
        with suppress(*_AWAY):
            answer = await client.post("/api/responses/generate", json=body, headers=headers)
            person.counts[f"queue {answer.status_code}"] += 1
            if answer.status_code == 202:
                person.queued[key] = answer.json()["responseId"]
                return
        person.unsure += 1
        await asyncio.sleep(_RETRY_SECONDS)


async def _train(client: httpx.AsyncClient, person: Person) -> None:
    await client.post("/api/training/samples/import", json={"limit": 40, "maxHistory": 2})
    answer = await client.post("/api/training/start", json={"baseModel": "smollm2-135m-instruct", "epochs": 1})
    person.counts[f"training {answer.status_code}"] += 1


async def _listen(client: httpx.AsyncClient, person: Person) -> None:
    last = "0"
    while True:
        with suppress(*_AWAY, json.JSONDecodeError):
            async with client.stream("GET", "/api/events/stream", headers={"Last-Event-ID": last}) as answer:
                async for line in answer.aiter_lines():
                    if line.startswith("data:"):
                        event = json.loads(line.removeprefix("data:"))
                        last = event.get("id", last)
                        _hear(person, event)
        await asyncio.sleep(_RETRY_SECONDS)


def _hear(person: Person, event: dict[str, Any]) -> None:
    person.counts[event["type"]] += 1
    if event["type"] in ("response:completed", "response:failed", "response:cancelled"):
        person.told.setdefault(event["data"]["responseId"], set()).add(event["id"])


async def _all_ended(client: httpx.AsyncClient, person: Person) -> None:
    """Wait for all queued drafts, however long that takes: whoever runs this sees how many are left."""
    left = set(person.queued.values())
    while left:
        for draft in sorted(left):
            with suppress(*_AWAY, KeyError, ValueError):
                if (await client.get(f"/api/responses/{draft}")).json()["status"] in ("completed", "failed", "cancelled"):
                    left.discard(draft)
        person.counts["left"] = len(left)
        await asyncio.sleep(_RETRY_SECONDS)
    await asyncio.sleep(2)  # the events come a moment later
