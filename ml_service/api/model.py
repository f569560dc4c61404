"""`/models`, `/model/reload`, and the engine's own OpenAI-compatible API under `/v1`."""

import time
from collections.abc import Mapping
from typing import Annotated

from fastapi import APIRouter, Query

from ml_service.api.documentation import errors
from ml_service.engine.protocol import EngineAway, GenerationFailed, QueueFull
from ml_service.engine.supervisor import EngineSupervisor
from ml_service.models.catalogue import ModelEntry
from shared.asgi import AsgiScope, Message, Receive, Send
from shared.contracts.service import EngineSleepRequest, EngineSleepState, ModelInfo, ModelList, ModelReload
from shared.errors import NotFound


def model_routes(supervisor: EngineSupervisor, catalogue: Mapping[str, ModelEntry]) -> APIRouter:
    router = APIRouter(tags=["model"])

    @router.get("/models")
    async def models() -> ModelList:
        """The models that can be asked for by name, and which one serves."""
        known = [
            ModelInfo(
                name=entry.name,
                description=entry.description,
                parameters=entry.parameters,
                context_length=entry.context_length,
                disk_gib=entry.disk_gib,
                active=entry == supervisor.entry,
            )
            for entry in catalogue.values()
        ]
        return ModelList(models=known, active=supervisor.entry.name)

    @router.post("/model/reload", responses=errors(400, 404, 409, 503))
    async def reload(model_id: Annotated[str, Query(min_length=1, max_length=100, description="A name of `/models`.")]) -> ModelReload:
        """Serve another model of the catalogue; if it cannot be loaded, the old one keeps serving."""
        entry = catalogue.get(model_id)
        if entry is None:
            raise NotFound("No model with this name in the catalogue")
        previous = supervisor.entry.name
        started = time.monotonic()
        changed = await supervisor.reload(entry)
        return ModelReload(
            status="reloaded" if changed else "unchanged",
            previous=previous,
            model_version=supervisor.entry.name,
            seconds=round(time.monotonic() - started, 2),
        )

    @router.post("/model/sleep", responses=errors(400, 409, 503))
    async def sleep(body: EngineSleepRequest) -> EngineSleepState:
        """Give the GPU's memory to something that trains; answers when the engine sleeps. Requests wait meanwhile, or get 503.

        Generations that run finish, for at most 20 seconds. Ask again before the seconds have passed, or the engine wakes.
        """
        await supervisor.sleep(body.seconds)
        return sleep_state()

    @router.post("/model/wake", responses=errors(503))
    async def wake() -> EngineSleepState:
        """Let the engine serve again; one that is awake is fine."""
        await supervisor.wake()
        return sleep_state()

    def sleep_state() -> EngineSleepState:
        return EngineSleepState(asleep=supervisor.state == "sleeping", seconds_left=round(supervisor.sleep_seconds_left, 1))

    return router


class OpenAiApi:
    """An ASGI app to mount at `/v1`: passes requests to the app of the engine that serves now. It speaks for the base model only:
    an adapter belongs to an account, and this protocol knows none."""

    def __init__(self, supervisor: EngineSupervisor) -> None:
        self._supervisor = supervisor

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        if asgi_scope["type"] != "http":
            await send({"type": "websocket.close", "code": 4404})
            return
        model = await self._supervisor.awake()
        app = model.engine.openai_app()
        if app is None:
            raise NotFound("This engine has no OpenAI-compatible API")
        status = 0

        async def send_own(message: Message) -> None:
            """Hold back an answer with a 5xx status: it speaks of the engine's insides, and this service has words of its own."""
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            if status < 500:
                await send(message)

        await app(_as_if_not_mounted(asgi_scope), receive, send_own)
        if status < 500:
            return
        if not model.engine.alive:
            raise EngineAway("The engine died while it generated; it is being started again", retry_after=10)
        if status == 503:
            raise QueueFull("The engine has as much work as it may queue")
        raise GenerationFailed("The generation failed")


def _as_if_not_mounted(asgi_scope: AsgiScope) -> AsgiScope:
    """The ASGI scope as the server made it: the inner app's own paths begin with `/v1`, and what outer routing noted is not for it."""
    plain = {name: value for name, value in asgi_scope.items() if not name.startswith("fastapi")}
    for name in ("app", "router", "endpoint", "route", "path_params", "app_root_path"):
        plain.pop(name, None)
    return {**plain, "root_path": ""}
