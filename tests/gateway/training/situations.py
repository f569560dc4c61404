"""What the tests of trainings begin with."""

from typing import Any

import httpx

from tests.factories import Device
from tests.fixtures.training_system import MODEL, TrainingSystem, completed


def ask(device: Device, headers: dict[str, str] | None = None, **body: Any) -> httpx.Response:
    """Ask for a training."""
    return device.client.post("/api/training/start", json={"baseModel": MODEL, **body}, headers=headers)


def started(device: Device, **body: Any) -> str:
    """The id of a training that was accepted."""
    answer = ask(device, **body)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["job"]["id"])


def read_job(device: Device, job_id: str) -> dict[str, Any]:
    answer = device.client.get(f"/api/training/jobs/{job_id}")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["job"])


def trained(system: TrainingSystem, device: Device, **figures: Any) -> str:
    """The id of a job that is completed and of its adapter, by default one that is better than what was in use."""
    if not device.client.get("/api/training/samples").json()["total"]:
        system.samples(device)
    job_id = started(device)
    system.ml.store_adapter(job_id, str(device.account_id))
    system.tell(device, completed(job_id, **figures))
    return job_id


def adapters(device: Device) -> list[dict[str, Any]]:
    answer = device.client.get("/api/training/adapters")
    assert answer.status_code == 200, answer.text
    return list(answer.json()["adapters"])


def active(device: Device) -> list[str]:
    return [adapter["id"] for adapter in adapters(device) if adapter["active"]]
