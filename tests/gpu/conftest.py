"""A service on the GPU, and what is asked of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import pytest

from tests.fixtures.loras import WordLoras, word_loras
from tests.fixtures.ml_service import MODEL, TOKEN, data_folder
from tests.fixtures.training import style_samples
from tests.fixtures.workers import TrainingWorkerProcess
from tests.ml_service.adapters.conftest import publish

__all__ = ["word_loras"]

WORDS = ("apple", "river", "seven", "music")
"""As many voices as go into one batch by default."""

StartWorker = Callable[..., TrainingWorkerProcess]


@pytest.fixture
def start_worker(run_folder: Path, redis_url: str, adapter_store: Path, tmp_path: Path) -> Iterator[StartWorker]:
    """Starts training workers, given the service's address and further settings, and stops them in the end."""
    workers: list[TrainingWorkerProcess] = []
    data_dir = data_folder(tmp_path / "data")

    def start(ml_service_url: str, **settings: str) -> TrainingWorkerProcess:
        own = {"adapter_store": str(adapter_store), "data_dir": str(data_dir), "ml_service_token": TOKEN, "training_priority": "normal"}
        worker = TrainingWorkerProcess(run_folder, redis_url=redis_url, ml_service_url=ml_service_url, **{**own, **settings})
        workers.append(worker)
        worker.start()
        return worker

    yield start
    for worker in workers:
        worker.stop()


@pytest.fixture(scope="package")
def accounts(run_folder: Path, adapter_store: Path, word_loras: WordLoras) -> dict[str, str]:
    """An account for each word, with one adapter `v1` that says it; account by word."""
    accounts = {word: f"{word}-{uuid4().hex}" for word in WORDS}
    for word, scope in accounts.items():
        publish(adapter_store, word_loras.write(run_folder / f"gpu-{word}", word), scope, "v1")
    return accounts


def ask(client: httpx.Client, scope: str = "nobody", adapter_id: str | None = None, **fields: Any) -> dict[str, Any]:
    """The answer to a question that nobody has asked before."""
    body = {"messages": [{"role": "user", "content": f"What about {uuid4().hex[:6]}?"}], "max_tokens": 6, "repeat_penalty": 1.0}
    answer = client.post("/generate", json={**body, "scope": scope, "adapter_id": adapter_id, **fields})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def style_training(**fields: Any) -> dict[str, Any]:
    """The body of a training on samples whose replies all end alike."""
    body = {"base_model": MODEL, "samples": msgspec.to_builtins(style_samples()), "scope": f"style-{uuid4().hex}"}
    return {**body, "epochs": 6, "learning_rate": 1e-3, **fields}


def style_question() -> dict[str, Any]:
    """A question of the samples' kind; greedily answered."""
    turns = style_samples()[-1].messages or []
    return {"messages": [{"role": turn.role, "content": turn.content} for turn in turns], "max_tokens": 24, "temperature": 0}
