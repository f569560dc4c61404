"""The worker of the training queue: has a subprocess train what was asked for, publishes the adapter, and tells what came of it."""

import asyncio
import errno
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final, TypeVar

import structlog
from arq.connections import ArqRedis

from ml_service.adapters.store import AdapterExists, AdapterStore
from ml_service.jobs.engine_sleep import EngineSleep
from ml_service.jobs.leases import Leases
from ml_service.jobs.ledger import QueueAway, connection_pool
from ml_service.jobs.runs import REDIS_TIMEOUT_SECONDS, Runs, cancel, stop_signal, work_on
from ml_service.jobs.trainer_process import MODULE, TrainerDied, TrainerProcess, TrainerSilent
from ml_service.jobs.training_folder import TrainingFolder, TrainingFolders
from ml_service.jobs.training_queue import TrainingJob, TrainingQueue
from ml_service.models.bundled import BundledModelMissing
from ml_service.models.catalogue import ModelEntry, checkpoint, load_catalogue
from ml_service.models.number_format import cpu_number_format
from ml_service.settings import Settings
from ml_service.training.spec import Failure, Progress, Result, TrainingSpec
from shared.errors import AppError, NotFound, Unavailable

REDIS_SECONDS: Final = 15.0
"""A job's samples may be many megabytes."""
TELL_SECONDS: Final = 0.5
"""Progress is told at most so often …"""
SAME_SECONDS: Final = 1.5
"""… and when there is none, nearly as seldom as it may be."""
DEATHS_ALLOWED: Final = 2
"""How often a training process may die before its job fails; each time it goes on from its last checkpoint."""
RUNS_ALLOWED: Final = 3
"""How often a job may be begun when its workers keep dying: what it needs may be what kills them."""
CANCEL_SECONDS: Final = 2.0
STOP_SECONDS: Final = 6.0
"""How long a trainer may take to end when its job is over, and when it goes on elsewhere."""
LEAVE_SECONDS: Final = 10.0
"""How long it may take to leave after it has said everything."""
PUBLISH_SECONDS: Final = 10.0
"""How long a publication may go on when its job is over."""
STORE_PATIENCE_SECONDS: Final = 300.0
STORE_PAUSE_SECONDS: Final = 2.0

Found = TypeVar("Found")
log = structlog.get_logger(__name__)


class TrainingFailed(Exception):
    """There will be no adapter; the message is a sentence for people."""


async def run_training_worker(settings: Settings, trainer: str = MODULE) -> None:
    """Work until a signal comes: at the first one hand the job back and end, at the second end at once.

    `trainer` is the module that trains in a process of its own.
    """
    stop = stop_signal()
    redis = ArqRedis(pool_or_conn=connection_pool(settings.redis_url, max(REDIS_SECONDS, REDIS_TIMEOUT_SECONDS)))
    catalogue = load_catalogue(Path(settings.model_catalogue) if settings.model_catalogue else None)
    queue = TrainingQueue(redis, settings)
    leases = Leases(queue, settings.job_lease_seconds)
    store = AdapterStore.open(settings, catalogue)
    try:
        async with EngineSleep(settings.ml_service_url, settings.ml_service_token) as engines:
            runs = TrainingRuns(queue, store, leases, stop, engines, settings, catalogue, trainer)
            await work_on(redis, runs, leases, stop, jobs=1)
    finally:
        store.close()


class TrainingRuns(Runs[TrainingJob]):
    """Runs training jobs, one at a time.

    Args:
        queue: the ledger.
        store: where adapters are published.
        leases: where running jobs are kept alive.
        stop: when it is set, the job that runs goes back to the queue.
        engines: what sleeps meanwhile, if the settings say so.
        settings, catalogue: see there.
        module: what trains, see `TrainerProcess`.
    """

    def __init__(
        self,
        queue: TrainingQueue,
        store: AdapterStore,
        leases: Leases,
        stop: asyncio.Event,
        engines: EngineSleep,
        settings: Settings,
        catalogue: Mapping[str, ModelEntry],
        module: str = MODULE,
    ) -> None:
        super().__init__(queue, leases, stop)
        self._queue: TrainingQueue = queue
        self._store = store
        self._engines = engines
        self._settings = settings
        self._catalogue = catalogue
        self._module = module
        self._data_dir = Path(settings.data_dir).resolve()
        self._folders = TrainingFolders(self._data_dir)
        self._trainer: TrainerProcess | None = None
        self._publishing: asyncio.Task[None] | None = None

    async def prepare(self) -> bool:
        """Also removes what jobs have left here that are over or forgotten by now."""
        return await super().prepare() and await self.insist(self._sweep) is not None

    async def _work(self, job: TrainingJob) -> None:
        began = time.monotonic()
        end = await self._outcome(job)
        self._leases.let_go(job.run)  # whoever ends it, this run is not to be stopped any more
        ended = await self.insist(end)
        seconds = round(time.monotonic() - began, 3)
        log.info("training job run", job_id=job.job_id, ended=ended, runs=job.runs, waited=job.age_seconds, seconds=seconds)

    async def _clear(self, job: TrainingJob) -> None:
        """End the trainer and wake the engines; then drop what a job that is over has left."""
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            await trainer.stop(STOP_SECONDS if self._stop.is_set() else CANCEL_SECONDS)
        await self._engines.end()
        with suppress(QueueAway):  # then the next sweep finds it
            await self._take_back(job)
            await self._sweep()

    async def _take_back(self, job: TrainingJob) -> None:
        """Delete the adapter of a job that was cancelled or forgotten while it was being published."""
        publishing, self._publishing = self._publishing, None
        if publishing is None:
            return
        await asyncio.wait([publishing], timeout=PUBLISH_SECONDS)
        await cancel(publishing)
        await asyncio.gather(publishing, return_exceptions=True)  # how it went was told, or matters no more
        try:
            state = await self._queue.state(job.job_id)
            unwanted = state.completed_at is not None and state.status != "completed"
        except NotFound:
            unwanted = True
        if not unwanted:
            return
        try:
            await self._store.delete(job.request.scope, job.adapter_id)
        except AppError as error:
            log.warning("adapter of a cancelled job is left", job_id=job.job_id, reason=error.message)

    async def _outcome(self, job: TrainingJob) -> Callable[[], Awaitable[bool]]:
        """Train and publish; returns what is to be done with the job then."""
        try:
            result = await self._train(job, self._folders.of(job.job_id))
            self._publishing = asyncio.create_task(self._publish(job))
            await asyncio.shield(self._publishing)
        except (TrainingFailed, TrainerDied) as error:
            message = str(error)
        except AppError as error:
            message = error.message
        except OSError as error:
            log.warning("training job broke", job_id=job.job_id, kind=type(error).__name__, errno=error.errno)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            message = "The training worker's disk is full" if full else "The training worker could not write its files"
        except Exception:  # a job that was accepted ends, also by a mistake of ours
            log.exception("training job broke", job_id=job.job_id)
            message = "The training failed"
        else:
            return lambda: self._queue.complete(job.job_id, result, job.adapter_id)
        return lambda: self._queue.fail(job.job_id, message)

    async def _train(self, job: TrainingJob, folder: TrainingFolder) -> Result:
        """What the trainer says in the end, however often it has to be started.

        Raises:
            TrainingFailed, TrainerDied: there is no adapter.
        """
        if job.runs > RUNS_ALLOWED:
            raise TrainingFailed(
                f"The training was begun {RUNS_ALLOWED} times, and each time its worker died; memory may be too short for it"
            )
        spec = await self._spec(job)
        await asyncio.to_thread(folder.end_process)
        await asyncio.to_thread(folder.prepare, spec, job.request.samples)
        if self._settings.training_gpu == "sleep":
            await self._engines.begin()
        deaths = 0
        while True:
            try:
                return await self._attempt(job, folder)
            except TrainerDied as death:
                deaths += 1
                log.warning("trainer died", job_id=job.job_id, deaths=deaths, reason=str(death))
                if deaths > DEATHS_ALLOWED:
                    raise

    async def _attempt(self, job: TrainingJob, folder: TrainingFolder) -> Result:
        trainer = self._trainer = await TrainerProcess.start(folder.path, self._settings, self._module)
        await asyncio.to_thread(folder.note_process, trainer.group)
        teller = ProgressTeller(self._queue, job)
        telling = asyncio.create_task(teller.keep_telling())
        try:
            last = await self._last_word(trainer, teller)
        except TrainerSilent:
            await trainer.end(0)
            raise
        finally:
            await cancel(telling)
        await trainer.end(LEAVE_SECONDS)
        if last is None:
            raise await trainer.death()
        if isinstance(last, Failure):
            raise TrainingFailed(last.error)
        return last

    async def _last_word(self, trainer: TrainerProcess, teller: "ProgressTeller") -> Result | Failure | None:
        """What the trainer says of how it went; None if it ends without."""
        async with aclosing(trainer.says()) as words:
            async for said in words:
                if not isinstance(said, Progress):
                    return said
                teller.latest = said
        return None

    async def _spec(self, job: TrainingJob) -> TrainingSpec:
        request = job.request
        entry = self._catalogue.get(request.base_model)
        if entry is None:
            raise TrainingFailed("The base model is not in this worker's catalogue")
        try:
            model = await asyncio.to_thread(checkpoint, entry, self._data_dir)
        except (BundledModelMissing, FileNotFoundError) as error:
            raise TrainingFailed(str(error)) from error
        return TrainingSpec(
            job_id=job.job_id,
            base_model=entry.name,
            checkpoint=model,
            revision=entry.revision,
            baseline_adapter=await self._baseline(job),
            method=request.method,
            epochs=request.epochs,
            learning_rate=request.learning_rate,
            lora=request.lora,
            eval_fraction=request.eval_fraction,
            seed=request.seed,
            cpu_number_format=cpu_number_format(self._settings.cpu_number_format),
            max_length=min(self._settings.training_max_length, entry.context_length, self._settings.max_model_len or entry.context_length),
        )

    async def _baseline(self, job: TrainingJob) -> str | None:
        adapter_id = job.request.baseline_adapter_id
        if adapter_id is None:
            return None
        stored = await self._insist_on_store(lambda: self._store.find(job.request.scope, adapter_id))
        if stored is None or stored.manifest.base_model != job.request.base_model:
            raise TrainingFailed("The adapter in use, with which the new one was to be compared, is gone or belongs to another base model")
        return str(await self._insist_on_store(lambda: self._store.folder(stored)))

    async def _publish(self, job: TrainingJob) -> None:
        adapter = self._folders.of(job.job_id).adapter
        scope, adapter_id = job.request.scope, job.adapter_id

        async def publish() -> None:
            base_model = job.request.base_model
            await self._store.publish(adapter, scope=scope, adapter_id=adapter_id, base_model=base_model)

        try:
            await self._insist_on_store(publish)
        except AdapterExists:
            # An earlier run of this job came so far and no further: nobody was told of that adapter, and its figures are lost.
            await self._insist_on_store(lambda: self._store.delete(scope, adapter_id))
            await self._insist_on_store(publish)

    async def _insist_on_store(self, call: Callable[[], Awaitable[Found]]) -> Found:
        """Call until the store does its part.

        Raises:
            Unavailable: it was away for too long.
        """
        give_up = time.monotonic() + STORE_PATIENCE_SECONDS
        while True:
            try:
                return await call()
            except Unavailable:
                if time.monotonic() > give_up:
                    raise
            await asyncio.sleep(STORE_PAUSE_SECONDS)

    async def _sweep(self) -> bool:
        """Remove the folders of jobs that are over: they hold people's messages."""
        for job_id in self._folders.present():
            try:
                over = (await self._queue.state(job_id)).completed_at is not None
            except NotFound:
                over = True
            if over:
                await asyncio.to_thread(self._folders.of(job_id).remove)
        return True


class ProgressTeller:
    """Tells how far a run is, not too often; what Redis does not take is told with the next."""

    def __init__(self, queue: TrainingQueue, job: TrainingJob) -> None:
        self._queue = queue
        self._job = job
        self.latest: Progress | None = None

    async def keep_telling(self) -> None:
        """Until cancelled."""
        told: Progress | None = None
        told_at = 0.0
        while True:
            progress = self.latest
            if progress is not None and (progress != told or time.monotonic() - told_at > SAME_SECONDS):
                with suppress(QueueAway):
                    await self._queue.report(self._job.job_id, self._job.run, progress)
                    told, told_at = progress, time.monotonic()
            await asyncio.sleep(TELL_SECONDS)
