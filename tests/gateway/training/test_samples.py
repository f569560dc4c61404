"""GET and DELETE /api/training/samples."""

from uuid import uuid4

import pytest

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.responses.situations import drafted, received


def accepted(device: Device, text: str = "Dinner on Friday?") -> str:
    """The id of a sample."""
    response_id = drafted(device, received(device, text))["responseId"]
    return str(device.client.post(f"/api/responses/{response_id}/action", json={"action": "accept"}).json()["sampleId"])


def test_newest_first_in_pages(owner: Device) -> None:
    ids = [accepted(owner, f"Question {number}") for number in range(3)]

    first = owner.client.get("/api/training/samples?page=1&pageSize=2").json()
    second = owner.client.get("/api/training/samples?page=2&pageSize=2").json()

    assert [sample["id"] for sample in first["samples"] + second["samples"]] == ids[::-1]
    assert [sample["input"] for sample in first["samples"]] == ["Question 2", "Question 1"]
    assert (second["total"], second["page"], second["pageSize"]) == (3, 2, 2)


def test_none_yet(owner: Device) -> None:
    answer = owner.client.get("/api/training/samples?page=1&pageSize=20")

    assert answer.json() == {"samples": [], "total": 0, "page": 1, "pageSize": 20}


@pytest.mark.parametrize(("field", "value"), [("page", 0), ("pageSize", 0), ("pageSize", 101)])
def test_pages_have_bounds(owner: Device, field: str, value: int) -> None:
    answer = owner.client.get("/api/training/samples", params={field: value})

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, field)


def test_can_be_deleted(owner: Device) -> None:
    sample_id = accepted(owner)

    assert owner.client.delete(f"/api/training/samples/{sample_id}").status_code == 204
    assert owner.client.get("/api/training/samples").json()["total"] == 0
    assert owner.client.delete(f"/api/training/samples/{sample_id}").status_code == 404


def test_strangers_see_and_delete_nothing(owner: Device, drafting_gateway: GatewayProcess) -> None:
    sample_id = accepted(owner)
    stranger = paired_device(drafting_gateway.url)

    assert stranger.client.get("/api/training/samples").json()["total"] == 0
    assert stranger.client.delete(f"/api/training/samples/{sample_id}").status_code == 404
    assert stranger.client.delete(f"/api/training/samples/{uuid4()}").status_code == 404
    assert owner.client.get("/api/training/samples").json()["total"] == 1
