"""POST /api/responses/generate with `Accept: text/event-stream`."""

import asyncio
import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from gateway.responses import streaming
from gateway.responses.schemas import Draft
from shared.contracts.generation import TokenEvent
from tests.factories import Device
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import eventually
from tests.gateway.responses.situations import DRAFT, only_draft, read, received

Event = tuple[str, dict[str, Any]]


@contextmanager
def streamed(device: Device, **body: Any) -> Iterator[tuple[httpx.Response, Iterator[Event]]]:
    headers = {"Accept": "text/event-stream"}
    with device.client.stream("POST", "/api/responses/generate", json=body, headers=headers) as answer:
        yield answer, _events(answer)


def _events(answer: httpx.Response) -> Iterator[Event]:
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def test_tokens_and_then_the_documented_body(owner: Device) -> None:
    with streamed(owner, messageId=received(owner)) as (answer, events):
        *tokens, (last, draft) = events

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert {name for name, _ in tokens} == {"token"}
    assert "".join(data["text"] for _, data in tokens) == DRAFT
    assert (last, draft["status"], draft["response"], draft["tokensUsed"]) == ("completed", "completed", DRAFT, 14)
    again = read(owner, draft["responseId"])
    assert {name: again[name] for name in draft} == draft


def test_tokens_come_as_they_are_made(owner: Device, ml_service: ScriptedMlService) -> None:
    with ml_service.paced(0.5), streamed(owner, messageId=received(owner)) as (_, events):
        name, data = next(events)

        assert (name, data) == ("token", {"text": "Sounds", "index": 0})
        assert only_draft(owner)["status"] == "generating"


def test_a_cached_draft_streams_too(owner: Device) -> None:
    message_id = received(owner)
    for cached in (False, True):
        with streamed(owner, messageId=message_id) as (_, events):
            *tokens, (_, draft) = events

        assert draft["cached"] is cached
        assert "".join(data["text"] for _, data in tokens) == DRAFT


def test_several_drafts_are_told_apart(owner: Device) -> None:
    with streamed(owner, messageId=received(owner), n=2) as (_, events):
        *tokens, (_, draft) = events

    for index, candidate in enumerate(draft["candidates"]):
        assert "".join(data["text"] for _, data in tokens if data["index"] == index) == candidate["text"]


def test_what_fails_before_the_first_token_is_an_ordinary_error(owner: Device) -> None:
    with streamed(owner, messageId=str(uuid4())) as (answer, _):
        answer.read()

    assert answer.status_code == 404
    assert answer.json()["error"] == "Not Found"


def test_an_ml_service_that_dies_in_the_middle_ends_in_failed(owner: Device, ml_service: ScriptedMlService) -> None:
    ml_service.pace(0.5)
    with streamed(owner, messageId=received(owner)) as (_, events):
        next(events)
        ml_service.kill()
        *_, (last, error) = events

    ml_service.start()
    assert (last, error["statusCode"], error["error"]) == ("failed", 503, "Service Unavailable")
    assert error["requestId"]
    failed = only_draft(owner)
    assert (failed["status"], failed["response"], failed["error"]) == ("failed", None, error["message"])


def test_a_client_that_leaves_aborts_its_draft(owner: Device, ml_service: ScriptedMlService) -> None:
    aborted = ml_service.aborted_before()
    with ml_service.paced(1):
        with streamed(owner, messageId=received(owner)) as (_, events):
            next(events)

        eventually(lambda: ml_service.aborted == aborted + 1)

    eventually(lambda: only_draft(owner)["status"] == "cancelled")


def test_a_cancelled_draft_says_so(owner: Device, ml_service: ScriptedMlService) -> None:
    aborted = ml_service.aborted_before()
    with ml_service.paced(1), streamed(owner, messageId=received(owner)) as (_, events):
        next(events)
        owner.client.post(f"/api/responses/{only_draft(owner)['responseId']}/cancel")
        *_, (last, draft) = events
        eventually(lambda: ml_service.aborted == aborted + 1)

    assert (last, draft["status"], draft["response"]) == ("cancelled", "cancelled", None)


@pytest.mark.anyio
async def test_a_client_that_stops_reading_is_as_good_as_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streaming, "_SEND_SECONDS", 0.05)
    ended: list[bool] = []

    async def draft() -> AsyncGenerator[TokenEvent | Draft, None]:
        try:
            while True:
                yield TokenEvent(text="word")
        finally:
            ended.append(True)

    async def stuck(message: Any) -> None:
        if message["type"] == "http.response.body":
            await asyncio.Event().wait()

    async def still_connected() -> Any:
        await asyncio.Event().wait()

    await streaming.DraftStream(draft()).to_asgi_response()({"type": "http"}, still_connected, stuck)  # type: ignore[arg-type]

    assert ended == [True]
