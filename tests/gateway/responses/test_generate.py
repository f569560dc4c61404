"""POST /api/responses/generate, waiting for the answer."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories import NO_TLS, Device, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import MODEL, ScriptedMlService
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually
from tests.gateway.responses.situations import DRAFT, conversation, drafted, line, only_draft, read, received, synced

DOCUMENTED = {"maxHistory": 10, "includeContactInfo": True, "temperature": 0.7, "maxTokens": 256}


def test_answers_as_documented(owner: Device) -> None:
    message_id = received(owner)

    answer = owner.client.post("/api/responses/generate", json={"messageId": message_id, "context": DOCUMENTED})

    assert answer.status_code == 200
    body = answer.json()
    documented = {name: body[name] for name in ("status", "response", "confidence", "modelVersion", "tokensUsed")}
    assert documented == {"status": "completed", "response": DRAFT, "confidence": 0.5, "modelVersion": MODEL, "tokensUsed": 14}
    assert UUID(body["responseId"]).version == 7
    assert body["messageId"] == message_id
    assert body["candidates"] is None
    assert body["createdAt"].endswith("Z")


def test_needs_no_context(owner: Device) -> None:
    answer = owner.client.post("/api/responses/generate", json={"messageId": received(owner)})

    assert answer.json()["response"] == DRAFT


def test_can_be_read_again(owner: Device) -> None:
    draft = drafted(owner, received(owner))

    again = read(owner, draft["responseId"])

    assert {name: again[name] for name in draft} == draft
    assert again["completedAt"] >= again["createdAt"]
    assert again["action"] is None


def test_the_row_keeps_the_very_prompt(owner: Device, database_url: str) -> None:
    ids = synced(owner, [line("Dinner on Friday?"), line("Sure", "outgoing"), line("At eight?")])

    draft = drafted(owner, ids[2])

    (row,) = rows(database_url, "select * from response where id = $1", UUID(draft["responseId"]))
    assert (row["account_id"], row["device_id"], row["status"], row["text"]) == (owner.account_id, owner.device_id, "completed", DRAFT)
    turns = rows(database_url, "select turn ->> 'role' role, turn ->> 'content' content from response,"
                 " jsonb_array_elements(messages) turn where id = $1", UUID(draft["responseId"]))  # fmt: skip
    assert [(turn["role"], turn["content"]) for turn in turns[1:]] == [
        ("user", "Dinner on Friday?"),
        ("assistant", "Sure"),
        ("user", "At eight?"),
    ]
    assert [str(message_id) for message_id in row["message_ids"]] == ids


def test_reads_no_more_history_than_asked(owner: Device, database_url: str) -> None:
    ids = synced(owner, conversation(7))

    draft = drafted(owner, ids[-1], maxHistory=3)

    (row,) = rows(database_url, "select message_ids from response where id = $1", UUID(draft["responseId"]))
    assert [str(message_id) for message_id in row["message_ids"]] == ids[-3:]


def test_stores_only_the_turns_that_fit_the_window(owner: Device, database_url: str) -> None:
    ids = synced(owner, conversation(9, text="a" * 500))

    draft = drafted(owner, ids[-1])

    (row,) = rows(
        database_url, "select message_ids, jsonb_array_length(messages) turns from response where id = $1", UUID(draft["responseId"])
    )
    kept = len(row["message_ids"])
    assert 1 < kept < 9
    assert row["turns"] == kept + 1
    assert [str(message_id) for message_id in row["message_ids"]] == ids[-kept:]


def test_of_a_message_that_is_longer_than_the_window_the_end_is_answered(owner: Device) -> None:
    assert drafted(owner, received(owner, "a" * 20_000))["response"] == DRAFT


def test_several_drafts_in_one_call(owner: Device) -> None:
    body = owner.client.post("/api/responses/generate", json={"messageId": received(owner), "n": 3}).json()

    assert len(body["candidates"]) == 3
    assert body["candidates"][0] == {"text": DRAFT, "confidence": 0.5, "tokensUsed": 14, "finishReason": "stop"}
    assert len({candidate["text"] for candidate in body["candidates"]}) == 3
    assert body["response"] == body["candidates"][0]["text"]
    assert body["tokensUsed"] == 3 * 14
    assert read(owner, body["responseId"])["candidates"] == body["candidates"]


def test_the_same_again_is_cached(owner: Device, ml_service: ScriptedMlService) -> None:
    message_id = received(owner)
    first = drafted(owner, message_id)
    generations = ml_service.generations

    second = drafted(owner, message_id)

    assert (first["cached"], second["cached"]) == (False, True)
    assert second["response"] == first["response"]
    assert second["responseId"] != first["responseId"]
    assert ml_service.generations == generations


def test_no_cache_drafts_anew(owner: Device, ml_service: ScriptedMlService) -> None:
    message_id = received(owner)
    drafted(owner, message_id)
    generations = ml_service.generations

    again = owner.client.post("/api/responses/generate", json={"messageId": message_id}, headers={"Cache-Control": "no-cache"})

    assert again.json()["cached"] is False
    assert ml_service.generations == generations + 1


def test_another_account_gets_nothing_from_the_cache(owner: Device, drafting_gateway: GatewayProcess) -> None:
    drafted(owner, received(owner, "The same words"))
    stranger = paired_device(drafting_gateway.url)

    assert drafted(stranger, received(stranger, "The same words"))["cached"] is False


def test_two_clients_at_once(owner: Device, drafting_gateway: GatewayProcess, ml_service: ScriptedMlService) -> None:
    other = paired_device(drafting_gateway.url)
    asked = [(owner, received(owner)), (other, received(other))]

    with ml_service.paced(0.02), ThreadPoolExecutor() as pool:
        drafts = list(pool.map(lambda each: drafted(*each), asked))

    assert [draft["messageId"] for draft in drafts] == [message_id for _, message_id in asked]
    assert [only_draft(device)["responseId"] for device, _ in asked] == [draft["responseId"] for draft in drafts]


def test_a_preference_for_asynchrony_may_be_ignored(owner: Device) -> None:
    """RFC 7240 section 2."""
    answer = owner.client.post("/api/responses/generate", json={"messageId": received(owner)}, headers={"Prefer": "handling=lenient"})

    assert answer.status_code == 200


def test_the_same_idempotency_key_drafts_once(owner: Device) -> None:
    body, headers = {"messageId": received(owner)}, {"Idempotency-Key": uuid4().hex}
    first = owner.client.post("/api/responses/generate", json=body, headers=headers)

    second = owner.client.post("/api/responses/generate", json=body, headers=headers)

    assert second.json() == first.json()
    assert only_draft(owner)["responseId"] == first.json()["responseId"]


def test_the_ml_service_hears_the_request_id(owner: Device, ml_service: ScriptedMlService) -> None:
    request_id = uuid4().hex

    owner.client.post("/api/responses/generate", json={"messageId": received(owner)}, headers={"X-Request-Id": request_id})

    ml_service.log_with(request_id)


def test_a_strangers_message_is_as_unknown_as_no_message(owner: Device, drafting_gateway: GatewayProcess) -> None:
    message_id = received(paired_device(drafting_gateway.url))

    theirs = owner.client.post("/api/responses/generate", json={"messageId": message_id}, headers={"X-Request-Id": "same"})
    nobodys = owner.client.post("/api/responses/generate", json={"messageId": str(uuid4())}, headers={"X-Request-Id": "same"})

    assert (theirs.status_code, nobodys.status_code) == (404, 404)
    assert theirs.json() == nobodys.json()


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(line("Mine", "outgoing"), id="one's own"),
        pytest.param(line(None, retractedAt="2026-01-01T12:00:00Z"), id="retracted"),
        pytest.param(line(None, messageType="attachment", attachments=[{"mimeType": "image/png"}]), id="a picture"),
        pytest.param(line("Liked", messageType="reaction", associatedMessageGuid="x", associatedMessageType="like"), id="a reaction"),
        pytest.param(line("  "), id="blank"),
        pytest.param(line("\u00a0\u2003"), id="wide space"),
        pytest.param(line("\u200b\ufeff"), id="nothing that shows"),
        pytest.param(line("\u0301\ufe0f"), id="marks alone"),
        pytest.param(line("Liked “see you at 8”"), id="a reaction as text"),
        pytest.param(line("Gefällt mir: „bis 8“"), id="a reaction as text, in German"),
        pytest.param(line("“また明日”に👀でリアクションしました"), id="a reaction as text, in Japanese"),
        pytest.param(line("Edited to “at nine”"), id="an edit as text"),
        pytest.param(line("Loved “x”", associatedMessageGuid="x", associatedMessageType=2000), id="a reaction that says it is a text"),
    ],
)
def test_what_cannot_be_answered_is_refused(owner: Device, message: dict[str, Any]) -> None:
    answer = owner.client.post("/api/responses/generate", json={"messageId": synced(owner, [message])[0]})

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == "messageId"


@pytest.mark.parametrize(
    "message",
    [
        line("❤️"),
        line("Loved the film “Heat”, you too?"),
        line("\ufffcWhat is this?", messageType="attachment", attachments=[{"mimeType": "image/png"}]),
        line("A caption", messageType="attachment"),
    ],
    ids=["an emoji", "words that resemble a reaction", "a picture with a caption", "a caption alone"],
)
def test_whatever_has_words_can_be_answered(owner: Device, message: dict[str, Any]) -> None:
    assert drafted(owner, synced(owner, [message])[0])["response"] == DRAFT


def test_reports_of_reactions_and_edits_are_in_the_thread_but_not_in_the_prompt(owner: Device, database_url: str) -> None:
    reports = [line("Liked “Dinner?”", "outgoing"), line("Edited to “at eight”", "outgoing"), line("👍 to “at eight”")]
    ids = synced(owner, [line("Dinner?"), line("at eight", "outgoing"), *reports, line("Where?")])

    draft = drafted(owner, ids[-1])

    (row,) = rows(database_url, "select message_ids, messages::text from response where id = $1", UUID(draft["responseId"]))
    assert [str(message_id) for message_id in row["message_ids"]] == [ids[0], ids[1], ids[-1]]
    assert "Liked" not in row["messages"]
    thread = owner.client.get(f"/api/conversations/{draft['conversationId']}/messages").json()
    assert thread["total"] == 6
    assert {"Liked “Dinner?”", "👍 to “at eight”"} <= {message["text"] for message in thread["messages"]}


@pytest.mark.parametrize(
    ("field", "body"),
    [
        ("messageId", {"messageId": "no-uuid"}),
        ("messageId", {"messageId": 1}),
        ("n", {"n": 0}),
        ("n", {"n": 5}),
        ("n", {"n": 1.5}),
        ("context.maxHistory", {"context": {"maxHistory": 0}}),
        ("context.maxHistory", {"context": {"maxHistory": 101}}),
        ("context.maxHistory", {"context": {"maxHistory": "10"}}),
        ("context.includeContactInfo", {"context": {"includeContactInfo": 1}}),
        ("context.temperature", {"context": {"temperature": -0.1}}),
        ("context.temperature", {"context": {"temperature": 2.1}}),
        ("context.maxTokens", {"context": {"maxTokens": 0}}),
        ("context.maxTokens", {"context": {"maxTokens": 2049}}),
        ("context", {"context": []}),
    ],
)
def test_what_is_out_of_range_is_named(owner: Device, field: str, body: dict[str, Any]) -> None:
    answer = owner.client.post("/api/responses/generate", json={"messageId": str(uuid4()), **body})

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == field


@pytest.mark.parametrize(
    "context",
    [
        {"maxHistory": 1, "temperature": 0, "maxTokens": 1},
        {"maxHistory": 100, "temperature": 2, "maxTokens": 2048, "includeContactInfo": False},
        {"unknown": "is ignored"},
    ],
)
def test_the_bounds_themselves_are_fine(owner: Device, context: dict[str, Any]) -> None:
    assert drafted(owner, received(owner), **context)["status"] == "completed"


def test_without_an_ml_service_says_when_to_try_again(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)

    answer = device.client.post("/api/responses/generate", json={"messageId": received(device)})

    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    failed = only_draft(device)
    assert (failed["status"], failed["response"]) == ("failed", None)
    assert failed["error"] == answer.json()["message"]


def test_an_ml_service_that_dies_while_it_drafts(owner: Device, ml_service: ScriptedMlService) -> None:
    message_id = received(owner)
    ml_service.pace(0.5)
    threading.Timer(0.5, ml_service.kill).start()

    answer = owner.client.post("/api/responses/generate", json={"messageId": message_id})

    ml_service.start()
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    assert only_draft(owner)["status"] == "failed"
    assert drafted(owner, message_id)["status"] == "completed"


def test_a_client_that_leaves_aborts_its_draft(owner: Device, ml_service: ScriptedMlService) -> None:
    message_id = received(owner)
    aborted = ml_service.aborted_before()

    with ml_service.paced(2):
        asyncio.run(_leave_once(lambda: ml_service.running == 1, owner, {"messageId": message_id}))

        eventually(lambda: ml_service.aborted == aborted + 1)

    eventually(lambda: only_draft(owner)["status"] == "cancelled")


async def _leave_once(true: Callable[[], bool], device: Device, body: dict[str, Any]) -> None:
    """Ask for a draft, and hang up when something is so."""
    async with httpx.AsyncClient(base_url=device.client.base_url, headers=device.client.headers, verify=NO_TLS) as client:
        asking = asyncio.create_task(client.post("/api/responses/generate", json=body, timeout=PATIENCE_SECONDS))
        await asyncio.to_thread(eventually, true)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
