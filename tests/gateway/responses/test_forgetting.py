"""A message that is retracted or edited takes with it what was made from it."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.factories import Device
from tests.fixtures.database import rows
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import WITHIN_A_SECOND, eventually
from tests.gateway.responses.situations import DRAFT, drafted, line, read, synced
from tests.gateway.responses.test_cancelling import drafting
from tests.gateway.responses.test_feedback import act, samples
from tests.gateway.responses.test_streaming import streamed

NOW = datetime.now(UTC).isoformat()


class Thread:
    """A thread of two incoming messages, the first of which will be changed."""

    def __init__(self, owner: Device) -> None:
        self.owner = owner
        self.name = uuid4().hex
        self.first = line("My secret", sentAt="2026-01-01T12:00:00Z")
        self.ids = synced(owner, [self.first, line("Dinner on Friday?", sentAt="2026-01-01T13:00:00Z")], self.name)

    def change(self, **changes: Any) -> None:
        synced(self.owner, [{**self.first, **changes}], self.name)


@pytest.fixture
def thread(owner: Device) -> Thread:
    return Thread(owner)


@pytest.fixture(params=[{"text": None, "retractedAt": NOW}, {"text": "Other words", "editedAt": NOW}], ids=["retracted", "edited"])
def change(request: pytest.FixtureRequest) -> dict[str, Any]:
    return dict(request.param)


def test_a_waiting_draft_is_withdrawn(owner: Device, thread: Thread, change: dict[str, Any], database_url: str) -> None:
    response_id = drafted(owner, thread.ids[1])["responseId"]

    thread.change(**change)

    draft = read(owner, response_id)
    assert (draft["status"], draft["response"], draft["candidates"]) == ("cancelled", None, None)
    assert "retracted" in draft["error"]
    (row,) = rows(database_url, "select messages from response where id = $1", UUID(response_id))
    assert row["messages"] is None
    assert act(owner, response_id, {"action": "accept"}).status_code == 409


def test_samples_go(owner: Device, thread: Thread, change: dict[str, Any]) -> None:
    act(owner, drafted(owner, thread.ids[1])["responseId"], {"action": "accept"})

    thread.change(**change)

    assert samples(owner) == []


@pytest.mark.parametrize(
    ("action", "kept"),
    [
        ({"action": "accept"}, DRAFT),
        ({"action": "edit", "editedResponse": "My own words"}, None),
        ({"action": "reject"}, None),
    ],
    ids=["accept", "edit", "reject"],
)
def test_the_owners_own_words_stay(owner: Device, thread: Thread, action: dict[str, Any], kept: str | None) -> None:
    response_id = drafted(owner, thread.ids[1])["responseId"]
    answer = act(owner, response_id, action)

    thread.change(text=None, retractedAt=NOW)

    draft = read(owner, response_id)
    assert (draft["status"], draft["response"], draft["editedResponse"]) == ("completed", kept, action.get("editedResponse"))
    assert act(owner, response_id, action).json() == answer.json()


def test_a_repeated_request_does_not_bring_a_forgotten_draft_back(owner: Device, thread: Thread) -> None:
    headers = {"Idempotency-Key": uuid4().hex, "Cache-Control": "no-cache"}
    body = {"messageId": thread.ids[1]}
    first = owner.client.post("/api/responses/generate", json=body, headers=headers).json()

    thread.change(text=None, retractedAt=NOW)

    again = owner.client.post("/api/responses/generate", json=body, headers=headers).json()
    assert again["responseId"] != first["responseId"]


def test_other_drafts_stay(owner: Device, thread: Thread) -> None:
    elsewhere = drafted(owner, Thread(owner).ids[1])["responseId"]
    without_it = drafted(owner, thread.ids[1], maxHistory=1)["responseId"]

    thread.change(text=None, retractedAt=NOW)

    assert [read(owner, response_id)["status"] for response_id in (elsewhere, without_it)] == ["completed", "completed"]


def test_a_draft_that_is_being_written_stops(owner: Device, thread: Thread, ml_service: ScriptedMlService) -> None:
    aborted = ml_service.aborted_before()
    with ml_service.paced(1), streamed(owner, messageId=thread.ids[1]) as (_, events):
        next(events)
        thread.change(text=None, retractedAt=NOW)
        *_, (last, draft) = events
        eventually(lambda: ml_service.aborted == aborted + 1)

    assert (last, draft["response"]) == ("cancelled", None)


def test_a_draft_waits_for_a_retraction_that_is_under_way(owner: Device, thread: Thread, database_url: str) -> None:
    async def retract_slowly() -> str:
        sync = await asyncpg.connect(database_url)
        async with sync.transaction():
            await sync.execute("select from conversation where account_id = $1 for no key update", owner.account_id)
            await sync.execute("update message set text = null, retracted_at = now() where id = $1", UUID(thread.ids[0]))
            asked = asyncio.create_task(asyncio.to_thread(drafted, owner, thread.ids[1]))
            await asyncio.sleep(0.3)
            assert not asked.done()
        await sync.close()
        return str((await asked)["responseId"])

    response_id = asyncio.run(retract_slowly())

    (row,) = rows(database_url, "select message_ids from response where id = $1", UUID(response_id))
    assert [str(message_id) for message_id in row["message_ids"]] == [thread.ids[1]]


def test_a_retraction_waits_for_a_draft_that_begins_also_in_another_threads_batch(owner: Device, thread: Thread, database_url: str) -> None:
    response_id = uuid4()

    async def begin_slowly() -> None:
        draft = await asyncpg.connect(database_url)
        async with draft.transaction():
            conversation_id = await draft.fetchval("select conversation_id from message where id = $1 for key share", UUID(thread.ids[1]))
            await draft.execute("select from conversation where id = $1 for share", conversation_id)
            await draft.execute(
                "insert into response (id, account_id, conversation_id, message_id, status, message_ids, cached, created_at)"
                " values ($1, $2, $3, $4, 'generating', '{}', false, now())",
                response_id, owner.account_id, conversation_id, UUID(thread.ids[1]),
            )  # fmt: skip
            retracted = {**thread.first, "text": None, "retractedAt": NOW}
            synced_elsewhere = asyncio.create_task(asyncio.to_thread(synced, owner, [retracted]))
            await asyncio.sleep(0.3)
            assert not synced_elsewhere.done()
        await draft.close()
        await synced_elsewhere

    asyncio.run(begin_slowly())

    assert read(owner, response_id)["status"] == "cancelled"


def test_a_deleted_conversations_draft_stops(owner: Device, ml_service: ScriptedMlService, database_url: str) -> None:
    with ml_service.paced(2), drafting(owner) as waiting:
        rows(database_url, "delete from conversation where account_id = $1", owner.account_id)

        assert waiting.result(timeout=WITHIN_A_SECOND).json()["status"] == "cancelled"
