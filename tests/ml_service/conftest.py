"""What tests of the ML service may ask for: a real one, an app with the scripted engine, and the unpacked model."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx
import msgspec
import pytest
from fastapi import FastAPI

from ml_service.app import create_app
from ml_service.engine.protocol import LoadedModel
from ml_service.engine.scripted_engine import ScriptedEngine, ScriptedRenderer
from ml_service.models.catalogue import ModelEntry, builtin_catalogue
from ml_service.settings import Settings
from tests.fixtures.ml_service import TOKEN, MlServiceProcess

SMOLLM2 = builtin_catalogue()["smollm2-135m-instruct"]


@pytest.fixture(scope="session")
def ml_service(model_service: MlServiceProcess) -> MlServiceProcess:
    """A service with the real engine, for tests that leave it as it was."""
    return model_service


@dataclass(frozen=True)
class InProcess:
    """An app with a scripted engine, and a client that sends the token."""

    app: FastAPI
    client: httpx.AsyncClient
    engines: list[ScriptedEngine]
    """Every engine that was loaded, the first one first."""

    @property
    def engine(self) -> ScriptedEngine:
        return self.engines[-1]


def scripted_settings(**changes: object) -> Settings:
    """Settings of an in-process app; Redis is nowhere unless given."""
    defaults = Settings(
        ml_service_token=TOKEN, redis_url="redis://127.0.0.1:1/0", model_id="smollm2-135m-instruct", max_prompt_tokens=100_000
    )
    return msgspec.structs.replace(defaults, **changes)


@asynccontextmanager
async def running(
    settings: Settings, make_engine: Callable[[ModelEntry], ScriptedEngine] = lambda _entry: ScriptedEngine()
) -> AsyncIterator[InProcess]:
    """Run an app whose engines are made by `make_engine`, which may raise."""
    engines: list[ScriptedEngine] = []

    async def load(entry: ModelEntry) -> LoadedModel:
        engine = make_engine(entry)
        engines.append(engine)
        return LoadedModel(entry=entry, engine=engine, renderer=ScriptedRenderer())

    app = create_app(settings, load)
    transport = httpx.ASGITransport(app)
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers) as client,
    ):
        while (await client.get("/health")).json()["engine"] == "loading":
            await asyncio.sleep(0.005)
        yield InProcess(app, client, engines)


@pytest.fixture
async def service(redis_url: str) -> AsyncIterator[InProcess]:
    """An app with the scripted engine and a real cache."""
    async with running(scripted_settings(redis_url=redis_url)) as in_process:
        yield in_process
