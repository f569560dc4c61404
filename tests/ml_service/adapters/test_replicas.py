"""Several ML services over one store: what one is given all have, through restarts and kills, and what one deletes all forget.

Their engine is the one that says which adapter it was given; each is a process of its own, with files of its own.
"""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
import s3fs

from shared.adapter_store.storage import BucketStorage
from tests.fixtures.loras import BASE
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.waiting import eventually
from tests.ml_service.adapters.conftest import publish, store_on
from tests.ml_service.adapters.test_store import bucket_server

__all__ = ["bucket_server"]

EVERYTHING = {"scope": "ana", "extent": "everything"}

Replicas = tuple[MlServiceProcess, MlServiceProcess]


def replica(folder: Path, redis_url: str, store: str) -> MlServiceProcess:
    settings = {"engine": "scripted", "model_id": BASE, "adapter_store": store, "adapter_check_seconds": "0.2", "data_dir": str(folder)}
    folder.mkdir(parents=True, exist_ok=True)
    return MlServiceProcess(folder, redis_url=redis_url, **settings)


@pytest.fixture
def replicas(tmp_path: Path, redis_url: str) -> Iterator[Replicas]:
    both = tuple(replica(tmp_path / name, redis_url, str(tmp_path / "store")) for name in ("one", "other"))
    for each in both:
        each.start()
    yield both[0], both[1]
    for each in both:
        each.stop()


def ask(service: MlServiceProcess, **fields: Any) -> httpx.Response:
    with service.client() as client:
        return client.post("/generate", json={"prompt": uuid4().hex, "scope": "ana", "adapter_id": "v1", **fields})


def test_what_is_published_once_is_served_by_all_and_after_a_kill(replicas: Replicas, lora: Path, tmp_path: Path) -> None:
    one, other = replicas
    publish(tmp_path / "store", lora, "ana", "v1")
    answers = [ask(each).json()["response"] for each in replicas]
    assert answers[0].startswith("<ana/v1@")
    assert answers[0] == answers[1]
    one.kill_alone()
    one.process.stop()
    assert ask(other).json()["response"] == answers[0]
    one.start()
    assert ask(one).json()["response"] == answers[0]


def test_what_one_deletes_all_forget(replicas: Replicas, lora: Path, tmp_path: Path) -> None:
    one, other = replicas
    publish(tmp_path / "store", lora, "ana", "v1")
    assert {ask(each).status_code for each in replicas} == {200}
    with one.client() as client:
        assert client.post("/forget", json=EVERYTHING).json() == {"complete": True}
    assert ask(one).status_code == 404
    eventually(lambda: ask(other).status_code == 404)
    with other.client() as client:
        assert client.get("/health").json()["adapters_loaded"] == 0
    assert not list((tmp_path / "store").rglob("*.safetensors"))


def test_a_bucket_reaches_machines_that_share_no_disk(
    bucket_server: str, redis_url: str, lora: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = {"aws_endpoint_url": bucket_server, "aws_access_key_id": "test", "aws_secret_access_key": "test"}
    for name, value in credentials.items():
        monkeypatch.setenv(name.upper(), value)
    bucket = f"bucket-{uuid4().hex}"
    s3fs.S3FileSystem(skip_instance_cache=True).mkdir(bucket)
    url = f"s3://{bucket}/adapters"
    both = []
    for name in ("one", "other"):
        settings = {"adapter_store": url, "data_dir": str(tmp_path / name), "adapter_check_seconds": "0.2", **credentials}
        (tmp_path / name).mkdir()
        both.append(MlServiceProcess(tmp_path / name, redis_url=redis_url, engine="scripted", model_id=BASE, **settings))
        both[-1].start()
    try:
        trainer = store_on(BucketStorage(url, tmp_path / "trainer"))
        asyncio.run(trainer.publish(lora, scope="ana", adapter_id="v1", base_model=BASE))
        assert [ask(each).json()["response"][:8] for each in both] == ["<ana/v1@"] * 2
        copies = [tmp_path / name / "adapters-cache" / "ana" for name in ("one", "other")]
        assert all(copy.is_dir() for copy in copies)
        with both[0].client() as client:
            assert client.delete("/adapters/v1", params={"scope": "ana"}).json() == {"deleted": 1}
        eventually(lambda: ask(both[1]).status_code == 404)
        eventually(lambda: not any(copy.exists() for copy in copies))  # the other's copy, too
        assert ask(both[1], adapter_fallback="base").json()["model_version"] == BASE
    finally:
        for each in both:
            each.stop()


def test_one_that_is_killed_while_it_deletes_can_be_asked_again(replicas: Replicas, lora: Path, tmp_path: Path) -> None:
    one, other = replicas
    for number in range(20):
        publish(tmp_path / "store", lora, "ana", f"v{number}")
    killing = threading.Timer(0.02, one.kill_alone)
    killing.start()
    with one.client() as client, suppress(httpx.HTTPError):  # or it was done before
        client.post("/forget", json=EVERYTHING)
    killing.join()
    with other.client() as client:
        assert client.post("/forget", json=EVERYTHING).json() == {"complete": True}
        assert client.get("/adapters", params={"scope": "ana"}).json() == {"adapters": []}
    assert not list((tmp_path / "store").rglob("*.safetensors"))
