"""POST /api/responses/:id/action."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tests.factories import Device, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.responses.situations import DRAFT, drafted, read, received

ACCEPT: dict[str, Any] = {"action": "accept"}
EDIT: dict[str, Any] = {"action": "edit", "editedResponse": "Modified response text"}
REJECT: dict[str, Any] = {"action": "reject", "rejectionReason": "Too formal"}


@pytest.fixture
def response_id(owner: Device) -> str:
    """A completed draft."""
    return str(drafted(owner, received(owner))["responseId"])


def act(device: Device, response_id: str, action: dict[str, Any]) -> httpx.Response:
    return device.client.post(f"/api/responses/{response_id}/action", json=action)


def samples(device: Device) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = device.client.get("/api/training/samples").json()["samples"]
    return listed


@pytest.mark.parametrize("action", [ACCEPT, EDIT, REJECT], ids=lambda action: action["action"])
def test_answers_as_documented(owner: Device, response_id: str, action: dict[str, Any]) -> None:
    answer = act(owner, response_id, action)

    assert answer.status_code == 200
    (sample,) = samples(owner)
    assert answer.json() == {"responseId": response_id, "action": action["action"], "sampleId": sample["id"]}
    draft = read(owner, response_id)
    assert draft["action"] == action["action"]
    assert draft["sampleId"] == sample["id"]
    assert draft["editedResponse"] == action.get("editedResponse")
    assert draft["rejectionReason"] == action.get("rejectionReason")


@pytest.mark.parametrize(
    ("action", "output", "rejected", "quality"),
    [(ACCEPT, DRAFT, None, 1.0), (EDIT, "Modified response text", DRAFT, 1.0), (REJECT, None, DRAFT, 0.0)],
    ids=["accept", "edit", "reject"],
)
def test_makes_a_sample(
    owner: Device, response_id: str, action: dict[str, Any], output: str | None, rejected: str | None, quality: float
) -> None:
    act(owner, response_id, action)

    (sample,) = samples(owner)
    assert (sample["source"], sample["output"], sample["rejectedOutput"], sample["quality"]) == (
        action["action"],
        output,
        rejected,
        quality,
    )
    assert sample["input"] == "Dinner on Friday?"
    assert sample["messages"][-1] == {"role": "user", "content": "Dinner on Friday?"}
    assert sample["responseId"] == response_id
    assert sample["conversationId"] == read(owner, response_id)["conversationId"]


@pytest.mark.parametrize("edited", [DRAFT, f" {DRAFT}\n", DRAFT.replace(" ", "  ")])
def test_an_edit_that_changes_nothing_is_no_preference(owner: Device, response_id: str, edited: str) -> None:
    act(owner, response_id, {"action": "edit", "editedResponse": edited})

    (sample,) = samples(owner)
    assert (sample["source"], sample["output"], sample["rejectedOutput"], sample["quality"]) == ("edit", edited, None, 1.0)


def test_the_sample_has_the_drafts_very_prompt(owner: Device, response_id: str, database_url: str) -> None:
    act(owner, response_id, ACCEPT)

    (row,) = rows(
        database_url,
        "select sample.messages = response.messages and sample.message_ids = response.message_ids as same"
        " from response join sample on sample.id = response.sample_id where response.id = $1",
        UUID(response_id),
    )
    assert row["same"] is True


@pytest.mark.parametrize("action", [ACCEPT, EDIT, REJECT, {"action": "reject"}])
def test_the_same_again_is_the_same_answer(owner: Device, response_id: str, action: dict[str, Any]) -> None:
    first = act(owner, response_id, action)

    again = act(owner, response_id, action)

    assert (again.status_code, again.json()) == (200, first.json())
    assert len(samples(owner)) == 1


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (ACCEPT, EDIT),
        (ACCEPT, REJECT),
        (EDIT, ACCEPT),
        (EDIT, REJECT),
        (EDIT, {"action": "edit", "editedResponse": "Something else"}),
        (REJECT, ACCEPT),
        (REJECT, EDIT),
        (REJECT, {"action": "reject", "rejectionReason": "Too long"}),
    ],
)
def test_something_else_is_a_conflict(owner: Device, response_id: str, first: dict[str, Any], second: dict[str, Any]) -> None:
    act(owner, response_id, first)

    assert act(owner, response_id, second).status_code == 409
    assert len(samples(owner)) == 1


def test_twenty_clicks_at_once_make_one_sample(owner: Device, response_id: str) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: act(owner, response_id, ACCEPT), range(20)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len(samples(owner)) == 1


def test_another_candidate_can_be_chosen(owner: Device) -> None:
    draft = owner.client.post("/api/responses/generate", json={"messageId": received(owner), "n": 3}).json()
    third = {"action": "accept", "candidate": 2}

    answer = act(owner, draft["responseId"], third)

    (sample,) = samples(owner)
    assert sample["output"] == draft["candidates"][2]["text"]
    assert read(owner, draft["responseId"])["response"] == draft["candidates"][2]["text"]
    assert act(owner, draft["responseId"], third).json() == answer.json()
    assert act(owner, draft["responseId"], ACCEPT).status_code == 409


def test_a_candidate_that_is_not_there_is_refused(owner: Device, response_id: str) -> None:
    answer = act(owner, response_id, {"action": "accept", "candidate": 1})

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "candidate")


def test_an_unfinished_draft_is_a_conflict(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    device.client.post("/api/responses/generate", json={"messageId": received(device)})
    (failed,) = device.client.get("/api/responses").json()["responses"]

    answer = act(device, failed["responseId"], ACCEPT)

    assert answer.status_code == 409
    assert samples(device) == []


@pytest.mark.parametrize(
    ("field", "action"),
    [
        ("", {}),
        ("action", {"action": "approve"}),
        ("action", {"action": 1}),
        ("", {"action": "edit"}),
        ("editedResponse", {"action": "edit", "editedResponse": ""}),
        ("editedResponse", {"action": "edit", "editedResponse": " \n\t"}),
        ("editedResponse", {"action": "edit", "editedResponse": "\u200b\u00a0"}),
        ("editedResponse", {"action": "edit", "editedResponse": "\ufffc\ufffd"}),
        ("editedResponse", {"action": "edit", "editedResponse": "a\0b"}),
        ("editedResponse", {"action": "edit", "editedResponse": None}),
        ("editedResponse", {"action": "edit", "editedResponse": "a" * 20_001}),
        ("rejectionReason", {"action": "reject", "rejectionReason": "a\0b"}),
        ("rejectionReason", {"action": "reject", "rejectionReason": "a" * 2_001}),
        ("candidate", {"action": "accept", "candidate": 4}),
    ],
)
def test_what_cannot_be_used_is_named(owner: Device, response_id: str, field: str, action: dict[str, Any]) -> None:
    answer = act(owner, response_id, action)

    assert answer.status_code == 400
    assert [problem["field"] for problem in answer.json().get("details", [])] == ([field] if field else [])
    assert read(owner, response_id)["action"] is None


def test_a_strangers_draft_is_unknown(drafting_gateway: GatewayProcess, owner: Device, response_id: str) -> None:
    stranger = paired_device(drafting_gateway.url)

    assert act(stranger, response_id, ACCEPT).status_code == 404
    assert act(stranger, str(uuid4()), ACCEPT).status_code == 404
    assert read(owner, response_id)["action"] is None
