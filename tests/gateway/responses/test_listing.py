"""GET /api/responses."""

import pytest

from tests.factories import Device
from tests.gateway.responses.situations import drafted, received


def test_newest_first_in_pages(owner: Device) -> None:
    message_id = received(owner)
    ids = [drafted(owner, message_id)["responseId"] for _ in range(3)]

    first = owner.client.get("/api/responses", params={"page": 1, "pageSize": 2}).json()
    second = owner.client.get("/api/responses", params={"page": 2, "pageSize": 2}).json()
    third = owner.client.get("/api/responses", params={"page": 3, "pageSize": 2}).json()

    assert [draft["responseId"] for draft in first["responses"] + second["responses"]] == ids[::-1]
    assert (first["total"], first["page"], first["pageSize"]) == (3, 1, 2)
    assert third == {"responses": [], "total": 3, "page": 3, "pageSize": 2}


def test_of_one_conversation(owner: Device) -> None:
    wanted, _ = (drafted(owner, received(owner)) for _ in range(2))

    listed = owner.client.get("/api/responses", params={"conversationId": wanted["conversationId"]}).json()

    assert ([draft["responseId"] for draft in listed["responses"]], listed["total"]) == ([wanted["responseId"]], 1)


def test_in_one_state(owner: Device) -> None:
    drafted(owner, received(owner))

    assert owner.client.get("/api/responses", params={"status": "completed"}).json()["total"] == 1
    assert owner.client.get("/api/responses", params={"status": "failed"}).json()["total"] == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [("page", "0"), ("page", "x"), ("pageSize", "0"), ("pageSize", "101"), ("status", "done"), ("conversationId", "no-uuid")],
)
def test_what_is_out_of_range_is_named(owner: Device, field: str, value: str) -> None:
    answer = owner.client.get("/api/responses", params={field: value})

    assert answer.status_code == 400
    assert answer.json()["details"][0]["field"] == field
