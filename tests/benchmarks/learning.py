"""From a training's end to the first token of the adapter that came of it, while drafts are asked for all the time."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.benchmarks.measure import Goal, Measurement
from tests.benchmarks.system import BenchmarkSystem
from tests.end_to_end.client import events_of
from tests.end_to_end.learner import import_history, new_message, start_training, sync_history
from tests.factories import Device, paired_device
from tests.fixtures.ml_service import data_folder
from tests.fixtures.workers import WorkerProcess

WORDS = ("mango", "velvet", "harbor", "copper", "lantern")


def measure(system: BenchmarkSystem, folder: Path, rounds: int) -> list[Measurement]:
    """Seconds from the event that a job is done to the first token on its adapter, and how many other drafts failed meanwhile."""
    worker = WorkerProcess(
        folder,
        queue="training",
        redis_url=system.redis_url,
        ml_service_url=system.ml_service.url,
        ml_service_token=system.ml_service.token,
        data_dir=str(data_folder(folder / "training-worker")),
        adapter_store=system.adapter_store,
    )
    worker.start()
    try:
        with _drafts_all_the_time(system) as others:
            seconds = [_first_token_after(paired_device(system.gateway.url), WORDS[number % len(WORDS)]) for number in range(rounds)]
    finally:
        worker.stop()
    return [
        Measurement(what="training done → first token on the new adapter", unit="s", ours=seconds, goal=Goal(rule="at most", value=3)),
        Measurement(
            what=f"drafts of others that failed meanwhile, of {others.asked}",
            unit="",
            ours=[others.failed],
            goal=Goal(rule="at most", value=0),
        ),
    ]


class _Others:
    def __init__(self) -> None:
        self.asked = 0
        self.failed = 0


@contextmanager
def _drafts_all_the_time(system: BenchmarkSystem) -> Iterator[_Others]:
    """Another account asks for one draft after the other."""
    others, stop = _Others(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            body = {"messageId": system.incoming_messages[others.asked % len(system.incoming_messages)], "context": {"maxTokens": 24}}
            try:
                answer = system.device.client.post("/api/responses/generate", json=body, headers={"Cache-Control": "no-cache"}, timeout=120)
                others.failed += answer.status_code != 200
            except httpx.HTTPError:
                others.failed += 1
            others.asked += 1

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield others
    finally:
        stop.set()
        thread.join()


def _first_token_after(device: Device, word: str) -> float:
    """Train on an owner's history; returns seconds from the event of its end to the first token on the adapter."""
    sync_history(device, word)
    import_history(device)
    message = new_message(device)
    with device.client.stream("GET", "/api/events/stream", timeout=600) as stream:
        job_id = start_training(device)
        ended = next(
            data
            for name, data in events_of(stream)
            if data["data"].get("id") == job_id and name in ("training:completed", "training:failed")
        )
    begin = time.perf_counter()
    if not ended["data"].get("activated"):
        raise RuntimeError(f"The adapter did not come into use: {ended['data'].get('error')}")
    body = {"messageId": message, "context": {"maxTokens": 8, "temperature": 0}}
    first = 0.0
    with device.client.stream("POST", "/api/responses/generate", json=body, headers={"Accept": "text/event-stream"}, timeout=120) as answer:
        for name, data in events_of(answer):
            first = first or time.perf_counter() - begin
            if name == "completed" and "+" not in data["modelVersion"]:
                raise RuntimeError("The draft was written by the base model")
    return first
