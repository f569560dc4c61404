"""Keeps one engine alive: loads it, watches it, replaces it when it dies or gets stuck, and exchanges its model."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, Literal

import structlog

from ml_service.engine.protocol import Engine, EngineAway, EngineFactory, LoadedModel, Sampling
from ml_service.models.catalogue import ModelEntry, has_gpu
from ml_service.settings import Settings
from shared.background import BackgroundTask, end
from shared.contracts.generation import Turn
from shared.errors import AppError, Conflict, Unavailable

EngineState = Literal["loading", "ready", "reloading", "rebuilding", "sleeping", "stopped"]
STATES: Final[tuple[EngineState, ...]] = ("loading", "ready", "reloading", "rebuilding", "sleeping", "stopped")

POLL_SECONDS: Final = 0.25
CANARY_POLL_SECONDS: Final = 1.0
"""Asking for processor time costs a look at every process of the machine."""
COMPUTING_SHARE: Final = 0.05
"""Share of one core that an engine uses at least while it computes. One that waits uses 0.015, in threads of its libraries that wake
a hundred times a second; one that has to share two cores with a dozen other threads still gets three times as much."""
LONGEST_STEP_SECONDS: Final = 600.0
"""An engine that uses the processor for so long without finishing a step runs in a circle."""
IDLE_PATIENCE: Final = 8
"""How many times as long an engine without work is left alone: a token costs the processor a fifth of a second, most of it threads that
spin for more to do. If it is stuck after all, the next request makes it one with work."""
LONGEST_PAUSE_SECONDS: Final = 60.0
DRAIN_SECONDS: Final = 120.0
"""How long generations on a model that is being exchanged may go on."""
SLEEP_DRAIN_SECONDS: Final = 20.0
"""How long generations may go on when the engine shall sleep; what is not done by then is aborted."""

AWAY: Final[dict[EngineState, tuple[str, int]]] = {
    "loading": ("The model is still being loaded", 5),
    "ready": ("The engine has just stopped and is being started again", 5),
    "reloading": ("Another model is being loaded", 10),
    "rebuilding": ("The engine is being started again", 10),
    "sleeping": ("The engine sleeps while something trains on its GPU", 10),
    "stopped": ("The service is stopping", 5),
}

log = structlog.get_logger(__name__)


class ModelNotLoaded(Unavailable):
    """A model could not be loaded; what served before serves again."""


class EngineSupervisor:
    """The one place that knows which model serves now.

    An engine sleeps under a lease: whoever put it to sleep must ask again and again, so that nobody's death leaves it asleep.
    """

    def __init__(
        self,
        factory: EngineFactory,
        entry: ModelEntry,
        settings: Settings,
        on_rebuild: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        """`on_rebuild` is told `dead` or `stuck` each time an engine is given up."""
        self._factory = factory
        self._entry = entry
        self._settings = settings
        self._load_beside = settings.reload_mode == "beside" or (settings.reload_mode == "auto" and not has_gpu())
        self._on_rebuild = on_rebuild
        self._state: EngineState = "loading"
        self._current: LoadedModel | None = None
        self._sleeps_until: float | None = None
        """When its lease ends; None while it is awake."""
        self._awake = asyncio.Event()
        self._awake.set()
        self._changing = asyncio.Lock()
        self._watching = BackgroundTask("engine supervisor", self._run)
        self._reloading: asyncio.Task[None] | None = None
        self._draining: set[asyncio.Task[None]] = set()

    @property
    def state(self) -> EngineState:
        """`ready` only while the engine can generate."""
        if self._sleeps_until is not None and self._state != "stopped":
            return "sleeping"
        if self._state == "ready" and (self._current is None or not self._current.engine.alive):
            return "rebuilding"
        return self._state

    @property
    def entry(self) -> ModelEntry:
        """The model that serves, or that is being loaded to serve."""
        return self._entry

    @property
    def engine(self) -> Engine | None:
        """The engine that serves, even if it sleeps or has just died; None while there is none."""
        return self._current.engine if self._current is not None else None

    @property
    def running(self) -> int:
        """Answers that the serving engine generates; 0 while there is none."""
        return self._current.engine.running if self._current is not None else 0

    def serving(self) -> LoadedModel:
        """The model to generate with now.

        Raises:
            EngineAway: there is none at the moment.
        """
        model, state = self._current, self.state
        if model is None or not model.engine.alive or state == "sleeping":
            message, retry_after = AWAY[state]
            raise EngineAway(message, retry_after=retry_after)
        return model

    async def awake(self) -> LoadedModel:
        """As `serving`, but waits a while for an engine that sleeps.

        Raises:
            EngineAway: there is none at the moment, or it still sleeps.
        """
        await self._awake_within(self._settings.sleep_patience_seconds)
        return self.serving()

    async def sleep(self, seconds: float) -> None:
        """Let the engine sleep: what runs finishes within limits, what comes waits. It wakes by itself after so many seconds.

        Asking again while it sleeps moves the end on, and never brings it nearer.

        Raises:
            EngineAway: there is no engine at the moment.
            Conflict: another model is being loaded.
        """
        if self._sleeps_until is not None:
            self._sleeps_until = max(self._sleeps_until, time.monotonic() + seconds)
            return
        model = self.serving()
        if self._changing.locked():
            raise Conflict("Another model is being loaded")
        async with self._changing:
            log.info("engine goes to sleep", model=model.entry.name)
            self._sleeps_until = time.monotonic() + seconds
            self._awake.clear()
            await _drain(model.engine, SLEEP_DRAIN_SECONDS)
            try:
                await model.engine.sleep()
            except EngineAway:  # died: its memory is free, too, and a new one is started after the sleep
                pass
            except Exception:
                await self._wake()
                raise

    async def wake(self) -> None:
        """Wake the engine, if it sleeps."""
        async with self._changing:
            await self._wake()

    @property
    def sleep_seconds_left(self) -> float:
        """How long the engine goes on sleeping if nobody asks again; 0 when it does not sleep."""
        return max(0.0, self._sleeps_until - time.monotonic()) if self._sleeps_until is not None else 0.0

    def start(self) -> None:
        """Begin loading in the background."""
        self._watching.start()

    async def stop(self) -> None:
        """Stop the engine and everything that watches it; open generations get EngineAway."""
        self._state = "stopped"
        self._end_lease()
        await self._watching.close()
        await end(*(task for task in (self._reloading, *self._draining) if task is not None))
        await self._give_up_current()

    async def reload(self, entry: ModelEntry) -> bool:
        """Serve another model; False if this very model serves already and nothing was done.

        The exchange goes on when the caller stops waiting. Generations that run on the old model finish, within limits.

        Raises:
            Conflict: another exchange is running.
            ModelNotLoaded: it cannot be loaded, and the old model keeps serving.
        """
        if self._reloading is not None and not self._reloading.done():
            raise Conflict("Another model is being loaded")
        if self._sleeps_until is not None:
            raise Conflict("The engine sleeps while something trains on its GPU; load another model afterwards")
        if self.state == "ready" and entry == self._entry:
            return False
        self._reloading = asyncio.create_task(self._exchange(entry), name="model-reload")
        await asyncio.shield(self._reloading)
        return True

    async def _run(self) -> None:
        """Start, watch and replace engines for ever."""
        pause = 1.0
        while True:
            if self._sleeps_until is not None:  # one that dies asleep is not replaced: that would take the memory given to training
                await self._wake_in_time()
                continue
            async with self._changing:
                if self._current is None:
                    await self._try_start()
            if self._current is None:
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            pause = 1.0
            model = self._current
            reason = await self._watch(model)
            async with self._changing:
                if reason is not None and self._current is model:
                    log.error("engine given up", reason=reason, model=model.entry.name)
                    self._state = "rebuilding"
                    self._on_rebuild(reason)
                    await self._give_up_current()

    async def _try_start(self) -> None:
        try:
            self._current = await self._load(self._entry)
        except Exception as error:  # whatever a loader raises, the service stays up, says so and tries again
            log.exception("model could not be loaded", model=self._entry.name, reason=str(error))  # nobody's text is there yet
            self._state = "rebuilding"
        else:
            self._state = "ready"

    async def _load(self, entry: ModelEntry) -> LoadedModel:
        """Load a model and let it generate once: the first generation compiles kernels, and nobody should wait for that."""
        started = time.monotonic()
        log.info("loading model", model=entry.name)
        async with asyncio.timeout(self._settings.engine_start_timeout_seconds):
            model = await self._factory(entry)
            try:
                await _generate_once(model, model.renderer.turns([Turn(role="user", content="Hello")]), tokens=4)
            except BaseException:
                await model.engine.shutdown()
                raise
        log.info("model ready", model=entry.name, seconds=round(time.monotonic() - started, 1))
        return model

    async def _watch(self, model: LoadedModel) -> str | None:
        """Wait until an engine is dead or stuck (the reason is returned), sleeps, or is no longer the one that serves (None)."""
        engine = model.engine
        while self._serves(model):
            if not engine.alive:
                return "dead"
            patience = self._settings.canary_interval_seconds * (1 if engine.running else IDLE_PATIENCE)
            if time.monotonic() - engine.last_progress >= patience and not await self._computes(model):
                return "stuck" if engine.alive else "dead"
            await asyncio.sleep(min(POLL_SECONDS, self._settings.canary_interval_seconds))
        return None

    def _serves(self, model: LoadedModel) -> bool:
        return self._current is model and self._sleeps_until is None

    async def _computes(self, model: LoadedModel) -> bool:
        """Ask for one token, and take any step as the answer, however late: the engine may have much to do, and little of the processor.

        It is stuck only if within `CANARY_DEADLINE_SECONDS` it also uses no processor time worth the name, or after `LONGEST_STEP_SECONDS`.
        """
        engine, deadline = model.engine, self._settings.canary_deadline_seconds
        asked = since = time.monotonic()
        used = -math.inf  # the first look comes a pause after asking: most engines have answered by then
        # The prompt is as short as can be: a machine at rest is asked, too, and an engine that has much to do. A full queue may refuse it:
        # that says nothing.
        canary = asyncio.create_task(_generate_once(model, model.renderer.text("Hello"), tokens=1))
        try:
            while True:
                await asyncio.sleep(min(CANARY_POLL_SECONDS, deadline / 10))
                if engine.last_progress > asked or not self._serves(model):
                    return True
                now = time.monotonic()
                if not engine.alive or now - asked >= LONGEST_STEP_SECONDS:
                    return False
                seconds = engine.processor_seconds()
                if seconds - used >= COMPUTING_SHARE * deadline:
                    since, used = now, seconds
                elif now - since >= deadline:
                    return False
        finally:
            canary.cancel()
            with suppress(asyncio.CancelledError, AppError):
                await canary

    async def _awake_within(self, seconds: float) -> None:
        """Wait until the engine does not sleep, but no longer than so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._awake.wait()

    async def _wake_in_time(self) -> None:
        """Wait until somebody wakes the engine, or wake it when its lease has ended."""
        await self._awake_within(self.sleep_seconds_left)
        async with self._changing:
            if self._sleeps_until is not None and self.sleep_seconds_left == 0:
                log.warning("engine wakes by itself: who put it to sleep has gone")
                await self._wake()

    async def _wake(self) -> None:
        """Under the lock of changes."""
        if self._sleeps_until is None:
            return
        started = time.monotonic()
        try:
            if self._current is not None:
                await self._current.engine.wake_up()
                log.info("engine woke up", seconds=round(time.monotonic() - started, 2))
        except Exception:  # whatever it is: an engine that does not answer is replaced
            log.exception("engine did not wake up")
        finally:
            self._end_lease()

    def _end_lease(self) -> None:
        self._sleeps_until = None
        self._awake.set()

    async def _exchange(self, entry: ModelEntry) -> None:
        async with self._changing:
            old = self._current
            beside = self._load_beside and old is not None
            if not beside:
                self._state, self._current = "reloading", None  # from here on new requests get 503
                if old is not None:
                    await _drain_and_stop(old.engine)
            try:
                self._current = await self._load(entry)
            except Exception as error:
                log.exception("model could not be loaded", model=entry.name, reason=str(error))
                if not beside:
                    await self._try_start()
                raise ModelNotLoaded(f"{entry.name} could not be loaded; {self._entry.name} keeps serving", retry_after=60) from error
            self._entry = entry
            if old is None or not beside:
                self._state = "ready"
                return
            task = asyncio.create_task(_drain_and_stop(old.engine))
            self._draining.add(task)
            task.add_done_callback(self._draining.discard)

    async def _give_up_current(self) -> None:
        model, self._current = self._current, None
        if model is not None:
            await model.engine.shutdown()


async def _generate_once(model: LoadedModel, prompt: Sequence[int], *, tokens: int) -> None:
    async for _delta in model.engine.generate(prompt, Sampling(max_tokens=tokens)):
        pass


async def _drain_and_stop(engine: Engine) -> None:
    """Let what runs on an engine finish, then stop it."""
    await asyncio.sleep(2 * POLL_SECONDS)  # a request that was given this engine just before may not have reached it
    await _drain(engine, DRAIN_SECONDS)
    await engine.shutdown()


async def _drain(engine: Engine, seconds: float) -> None:
    """Wait until an engine has nothing to do, but no longer than so many seconds."""
    deadline = time.monotonic() + seconds
    while engine.alive and engine.running and time.monotonic() < deadline:  # noqa: ASYNC110 - it is told only when asked
        await asyncio.sleep(POLL_SECONDS)
