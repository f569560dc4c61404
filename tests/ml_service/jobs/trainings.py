"""What tests of training jobs begin with."""

import time
from typing import Any

import httpx
import msgspec

from shared.contracts.training import TrainingState
from shared.redis_events import EVENT_FIELD, TRAINING_EVENTS, TrainingEvent
from tests.fixtures.redis_client import Redis
from tests.fixtures.waiting import PATIENCE_SECONDS

MODEL = "smollm2-135m-instruct"
SCOPE = "anna"
SECRET = "the key is under the third flowerpot"
"""A sample's text, which no log may show."""


def samples(output: str = "quick", count: int = 4) -> list[dict[str, Any]]:
    """Samples of which the first tells a scripted trainer what to do."""
    return [{"input": SECRET, "output": output if number == 0 else f"reply {number}", "quality": 1.0} for number in range(count)]


def training(output: str = "quick", **fields: Any) -> dict[str, Any]:
    """The body of `/training/start`."""
    return {"base_model": MODEL, "samples": samples(output), "epochs": 3, "learning_rate": 0.0001, "scope": SCOPE, **fields}


def start(client: httpx.Client, output: str = "quick", **fields: Any) -> str:
    """Have a training accepted; its job's id."""
    answer = client.post("/training/start", json=training(output, **fields))
    assert answer.status_code == 202, answer.text
    return str(answer.json()["job_id"])


def state(client: httpx.Client, job_id: str) -> TrainingState:
    return msgspec.json.decode(client.get(f"/training/status/{job_id}").raise_for_status().content, type=TrainingState)


def wait_for(client: httpx.Client, job_id: str, *statuses: str, seconds: float = 2 * PATIENCE_SECONDS) -> TrainingState:
    """The state once it is one of these."""
    deadline = time.monotonic() + seconds
    while (found := state(client, job_id)).status not in statuses:
        assert time.monotonic() < deadline, f"{found.status} after {seconds} s"
        time.sleep(0.1)  # training needs the processor itself
    return found


def published(redis: Redis, job_id: str | None = None) -> list[TrainingEvent]:
    """What is on the stream, of one job or of all."""
    events = [msgspec.json.decode(fields[EVENT_FIELD.encode()], type=TrainingEvent) for _, fields in redis.xrange(TRAINING_EVENTS)]
    return [event for event in events if job_id is None or event.state.job_id == job_id]


def statuses(redis: Redis, job_id: str) -> list[str]:
    """A job's statuses as the stream has them, each change once."""
    every = [event.state.status for event in published(redis, job_id)]
    return [status for number, status in enumerate(every) if number == 0 or status != every[number - 1]]
