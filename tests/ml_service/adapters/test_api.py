"""The endpoints about adapters, and generation with them, over the engine that says which adapter it was given."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ml_service.engine.scripted_engine import ScriptedEngine
from shared.adapter_store.manifest import WEIGHTS
from shared.adapter_store.storage import FolderStorage
from tests.fixtures.loras import BASE
from tests.fixtures.waiting import PATIENCE_SECONDS
from tests.ml_service.adapters.conftest import store_on
from tests.ml_service.conftest import InProcess, running, scripted_settings

pytestmark = pytest.mark.anyio


@dataclass(frozen=True)
class Home:
    """A service and the folder of its adapters."""

    service: InProcess
    folder: Path
    lora: Path

    @property
    def client(self) -> httpx.AsyncClient:
        return self.service.client

    async def publish(self, scope: str, adapter_id: str) -> None:
        await store_on(FolderStorage(self.folder)).publish(self.lora, scope=scope, adapter_id=adapter_id, base_model=BASE)

    async def ask(self, scope: str, adapter_id: str | None, **fields: Any) -> httpx.Response:
        body = {"prompt": uuid4().hex, "scope": scope, "adapter_id": adapter_id, **fields}
        return await self.client.post("/generate", json=body)

    async def metric(self, name: str) -> float:
        lines = (await self.client.get("/metrics")).text.splitlines()
        return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@pytest.fixture
async def home(redis_url: str, lora: Path, tmp_path: Path) -> AsyncIterator[Home]:
    folder = tmp_path / "store"
    settings = scripted_settings(
        redis_url=redis_url, data_dir=str(tmp_path / "data"), adapter_store=str(folder), max_loras=1, max_loaded_adapters=2
    )
    async with running(settings, lambda _entry: ScriptedEngine(token_seconds=0.001)) as service:
        yield Home(service, folder, lora)


async def test_a_draft_is_made_with_the_adapter_that_it_names(home: Home) -> None:
    await home.publish("ana", "v1")
    answer = (await home.ask("ana", "v1")).json()
    assert answer["response"].startswith("<ana/v1@")
    assert answer["model_version"] == f"{BASE}+v1"
    streamed = await home.ask("ana", "v1", stream=True)
    assert "<ana/v1@" in streamed.text
    assert f'"model_version":"{BASE}+v1"' in streamed.text


async def test_without_one_it_is_the_base_model(home: Home) -> None:
    await home.publish("ana", "v1")
    answer = (await home.ask("ana", None)).json()
    assert answer["response"].startswith("Sounds")
    assert answer["model_version"] == BASE


@pytest.mark.parametrize("stream", [False, True])
async def test_one_that_cannot_be_used_is_refused_or_replaced_as_the_request_says(home: Home, stream: bool) -> None:
    await home.publish("ana", "damaged")
    weights = home.folder / "ana" / "damaged" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    for adapter_id, status in (("nothing", 404), ("damaged", 409), ("no/name", 404)):
        refused = await home.ask("ana", adapter_id, stream=stream)
        assert (refused.status_code, refused.json()["statusCode"]) == (status, status)
        replaced = await home.ask("ana", adapter_id, stream=stream, adapter_fallback="base")
        assert replaced.status_code == 200
        assert f'"model_version":"{BASE}"' in replaced.text
    assert await home.metric("ml_adapter_fallbacks_total") == 3
    assert await home.metric("ml_adapter_refusals_total") >= 6


@pytest.mark.parametrize("stream", [False, True])
async def test_a_store_that_is_away_costs_the_voice_and_not_the_answer(home: Home, stream: bool) -> None:
    home.folder.mkdir(parents=True, exist_ok=True)
    (home.folder / "ana").write_text("a file where a folder should be")
    refused = await home.ask("ana", "v1", stream=stream)
    assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (503, True)
    replaced = await home.ask("ana", "v1", stream=stream, adapter_fallback="base")
    assert replaced.status_code == 200
    assert f'"model_version":"{BASE}"' in replaced.text


async def test_adapters_of_another_model_are_set_aside_and_come_back(home: Home) -> None:
    await home.publish("ana", "v1")
    assert (await home.ask("ana", "v1")).status_code == 200
    await home.client.post("/model/reload", params={"model_id": "ministral-3b-instruct"})
    refused = await home.ask("ana", "v1")
    assert (refused.status_code, "set aside" in refused.json()["message"]) == (409, True)
    (listed,) = (await home.client.get("/adapters", params={"scope": "ana"})).json()["adapters"]
    assert (listed["status"], listed["loaded"]) == ("set_aside", False)
    fallback = await home.ask("ana", "v1", adapter_fallback="base")
    assert fallback.json()["model_version"] == "ministral-3b-instruct"
    await home.client.post("/model/reload", params={"model_id": BASE})
    assert (await home.ask("ana", "v1")).json()["response"].startswith("<ana/v1@")


async def test_the_list_is_a_scopes_own(home: Home) -> None:
    for scope, adapter_id in (("ana", "v1"), ("ana", "v2"), ("sam", "v1")):
        await home.publish(scope, adapter_id)
    await home.ask("ana", "v2")
    listed = (await home.client.get("/adapters", params={"scope": "ana"})).json()["adapters"]
    assert [(each["adapter_id"], each["loaded"]) for each in listed] == [("v2", True), ("v1", False)]
    assert {each["scope"] for each in listed} == {"ana"}
    assert listed[0]["size_bytes"] > 100_000
    assert (await home.client.get("/adapters")).json() == {"adapters": []}


async def test_deleting_says_how_many_there_were(home: Home) -> None:
    for adapter_id in ("v1", "v2"):
        await home.publish("ana", adapter_id)
    await home.ask("ana", "v1")
    assert (await home.client.delete("/adapters/v1", params={"scope": "ana"})).json() == {"deleted": 1}
    assert (await home.client.delete("/adapters/v1", params={"scope": "ana"})).status_code == 404
    assert (await home.client.delete("/adapters/v2", params={"scope": "sam"})).status_code == 404
    assert (await home.ask("ana", "v1")).status_code == 404
    assert (await home.ask("ana", "v2")).status_code == 200


async def test_a_scope_is_forgotten_with_all_its_adapters(home: Home) -> None:
    for adapter_id in ("v1", "v2"):
        await home.publish("ana", adapter_id)
    await home.ask("ana", "v1")
    for _ in range(2):
        assert (await home.client.post("/forget", json={"scope": "ana", "extent": "everything"})).json() == {"complete": True}
    assert (await home.ask("ana", "v1")).status_code == 404
    assert not (home.folder / "ana").exists()


@pytest.mark.parametrize("scope", ["..", "a/b", "*", ""])
async def test_a_path_is_no_scope(home: Home, scope: str) -> None:
    assert (await home.client.get("/adapters", params={"scope": scope})).status_code == 400
    assert (await home.client.delete("/adapters/v1", params={"scope": scope})).status_code == 400
    assert (await home.client.post("/forget", json={"scope": scope, "extent": "everything"})).status_code == 400


async def test_health_and_metrics_tell_what_is_loaded(home: Home) -> None:
    for adapter_id in ("v1", "v2", "v3"):
        await home.publish("ana", adapter_id)
        await home.ask("ana", adapter_id)
    assert (await home.client.get("/health")).json()["adapters_loaded"] == 2
    assert await home.metric("ml_adapters_loaded") == 2
    assert await home.metric("ml_adapter_evictions_total") == 1
    assert await home.metric("ml_adapter_load_seconds_count") == 3


async def test_a_cached_answer_needs_no_adapter_in_the_engine(home: Home) -> None:
    for adapter_id in ("v1", "v2", "v3"):
        await home.publish("ana", adapter_id)
    key = uuid4().hex
    first = await home.ask("ana", "v1", cache_key=key)
    for adapter_id in ("v2", "v3"):
        await home.ask("ana", adapter_id)
    again = await home.ask("ana", "v1", cache_key=key)
    assert (first.json()["cached"], again.json()["cached"]) == (False, True)
    assert await home.metric("ml_adapter_load_seconds_count") == 3


async def test_a_queued_draft_is_refused_at_once_if_its_adapter_cannot_be_used(home: Home) -> None:
    body = {"prompt": "hello", "scope": "ana", "adapter_id": "nothing"}
    assert (await home.client.post("/generate/async", json=body)).status_code == 404
    assert (await home.client.post("/generate/async", json={**body, "adapter_fallback": "base"})).status_code == 202


async def test_who_leaves_gives_the_adapter_free(home: Home) -> None:
    await home.publish("ana", "v1")
    home.service.engine.token_seconds = 0.5
    asking = asyncio.create_task(home.ask("ana", "v1"))
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not home.service.engine.running:
            await asyncio.sleep(0.01)
    asking.cancel()
    assert (await home.client.delete("/adapters/v1", params={"scope": "ana"})).json() == {"deleted": 1}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while home.service.engine.adapters:
            await asyncio.sleep(0.01)


async def test_the_engine_is_put_to_sleep_and_woken(home: Home) -> None:
    state = (await home.client.post("/model/sleep", json={"seconds": 60})).json()
    assert state["asleep"]
    assert 0 < state["seconds_left"] <= 60
    health = await home.client.get("/health")
    assert (health.status_code, health.json()["engine"], health.json()["status"]) == (503, "sleeping", "loading")
    asking = asyncio.create_task(home.ask("ana", None))
    await asyncio.sleep(0.05)
    assert not asking.done()
    assert (await home.client.post("/model/wake")).json() == {"asleep": False, "seconds_left": 0}
    assert (await asking).status_code == 200
    assert (await home.client.post("/model/sleep", json={"seconds": 0})).status_code == 400
