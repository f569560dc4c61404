"""The worker of the training queue: has a subprocess train what was asked for, publishes the adapter, and reports what came of it."""

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
from ml_service.jobs.queue import Job, JobFailed, QueueAway
from ml_service.jobs.trainer_process import MODULE, TrainerDied, TrainerProcess, TrainerSilent, TrainingFolder
from ml_service.jobs.training_queue import TrainingQueue
from ml_service.jobs.worker import JobWorker, stop_signal, worker_redis
from ml_service.models.bundled import BundledModelMissing
from ml_service.models.catalogue import ModelEntry, checkpoint, load_catalogue
from ml_service.models.number_format import cpu_number_format
from ml_service.settings import Settings
from ml_service.training.spec import Failure, Progress, Said, TrainingSpec
from shared.background import end
from shared.contracts.training import TrainingRequest
from shared.errors import AppError, NotFound, Unavailable

REDIS_SECONDS: Final = 15.0
"""A job's samples may be many megabytes."""
REPORT_SECONDS: Final = 0.5
"""Progress is reported at most so often; the trainer repeats it, so it is reported when there is none, too."""
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


async def run_training_worker(settings: Settings, trainer: str = MODULE) -> None:
    """Work until a signal comes: at the first one hand the job back and end, at the second end at once.

    `trainer` is the module that trains in a process of its own.
    """
    catalogue = load_catalogue(Path(settings.model_catalogue) if settings.model_catalogue else None)
    store = AdapterStore.open(settings, catalogue)
    redis = worker_redis(settings.redis_url, REDIS_SECONDS)
    try:
        async with EngineSleep(settings.ml_service_url, settings.ml_service_token) as engines:
            worker = TrainingWorker(redis, settings, store, catalogue, engines, stop_signal(), trainer)
            worker.metrics.serve(settings)
            await worker.run()
    finally:
        store.close()


class TrainingWorker(JobWorker[TrainingRequest, Progress]):
    """Runs trainings, one at a time; the engines sleep meanwhile, if the settings say so. `module` is what trains."""

    def __init__(
        self,
        redis: ArqRedis,
        settings: Settings,
        store: AdapterStore,
        catalogue: Mapping[str, ModelEntry],
        engines: EngineSleep,
        stop: asyncio.Event,
        module: str = MODULE,
    ) -> None:
        self._queue: TrainingQueue = TrainingQueue(redis, settings)
        super().__init__(redis, self._queue, stop, jobs=1, heartbeat=settings.worker_heartbeat)
        self._settings = settings
        self._store = store
        self._catalogue = catalogue
        self._engines = engines
        self._module = module
        self._data_dir = Path(settings.data_dir).resolve()
        self._folders = self._data_dir / "training"
        self._trainer: TrainerProcess | None = None
        self._publishing: asyncio.Task[None] | None = None

    async def prepare(self) -> bool:
        """Also removes what jobs have left here that are over or forgotten by now."""
        return await super().prepare() and await self.until_answered(self._sweep) is not None

    async def work(self, job: Job[TrainingRequest]) -> Progress:
        """Train, and publish the adapter."""
        try:
            result = await self._train(job)
            self._publishing = asyncio.create_task(self._publish(job))
            await asyncio.shield(self._publishing)
        except AppError as error:
            raise JobFailed(error.message) from error
        except OSError as error:
            log.warning("training job broke", job_id=job.job_id, kind=type(error).__name__, errno=error.errno)
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            message = "The training worker's disk is full" if full else "The training worker could not write its files"
            raise JobFailed(message) from error
        return result

    async def clean_up(self, job: Job[TrainingRequest]) -> None:
        """End the trainer and wake the engines; then drop what a job that is over has left."""
        trainer, self._trainer = self._trainer, None
        if trainer is not None:
            await trainer.stop(STOP_SECONDS if self._stop.is_set() else CANCEL_SECONDS)
        await self._engines.end()
        with suppress(QueueAway):  # then the next sweep finds it
            await self._take_back(job)
            await self._sweep()

    async def _take_back(self, job: Job[TrainingRequest]) -> None:
        """Delete the adapter of a job that was cancelled or forgotten while it was being published."""
        publishing, self._publishing = self._publishing, None
        if publishing is None:
            return
        await asyncio.wait([publishing], timeout=PUBLISH_SECONDS)
        await end(publishing)
        if await self._status(job.job_id) in ("cancelled", "failed", None):
            try:
                await self._store.delete(job.request.scope, job.job_id)
            except AppError as error:
                log.warning("adapter of a cancelled job is left", job_id=job.job_id, reason=error.message)

    async def _sweep(self) -> bool:
        """Remove the folders of jobs that are over: they hold people's messages."""
        folders = [each for each in self._folders.iterdir() if each.is_dir()] if self._folders.exists() else []
        for folder in folders:
            if await self._status(folder.name) in ("completed", "cancelled", "failed", None):
                await asyncio.to_thread(TrainingFolder(folder).remove)
        return True

    async def _status(self, job_id: str) -> str | None:
        """A job's status; None if it is not known any more."""
        try:
            return (await self._queue.state(job_id)).status
        except NotFound:
            return None

    async def _train(self, job: Job[TrainingRequest]) -> Progress:
        """What the trainer says in the end, however often it has to be started.

        Raises:
            JobFailed: there is no adapter.
        """
        if job.lost_leases >= RUNS_ALLOWED:
            raise JobFailed(f"The training was begun {RUNS_ALLOWED} times, and each time its worker died; memory may be too short for it")
        folder = self._folder(job)
        await asyncio.to_thread(folder.prepare, await self._spec(job), job.request.samples)
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

    async def _attempt(self, job: Job[TrainingRequest], folder: TrainingFolder) -> Progress:
        trainer = self._trainer = await TrainerProcess.start(folder.path, self._settings, self._module)
        await asyncio.to_thread(folder.note_process, trainer.group)
        try:
            outcome = await self._outcome_of(trainer, job)
        except TrainerSilent:
            await trainer.end(0)
            raise
        await trainer.end(LEAVE_SECONDS)
        if outcome is None:
            raise await trainer.death()
        if isinstance(outcome, Failure):
            raise JobFailed(outcome.error)
        return outcome

    async def _outcome_of(self, trainer: TrainerProcess, job: Job[TrainingRequest]) -> Said | None:
        """What the trainer says of how it went, None if it ends without. Its progress is reported; what Redis does not take is lost."""
        reported_at = 0.0
        async with aclosing(trainer.says()) as lines:
            async for said in lines:
                if isinstance(said, Failure) or said.status == "completed":
                    return said
                if time.monotonic() >= reported_at + REPORT_SECONDS:
                    with suppress(QueueAway):
                        await self._queue.report(job, said)
                    reported_at = time.monotonic()
        return None

    async def _spec(self, job: Job[TrainingRequest]) -> TrainingSpec:
        request = job.request
        entry = self._catalogue.get(request.base_model)
        if entry is None:
            raise JobFailed("The base model is not in this worker's catalogue")
        try:
            model = await asyncio.to_thread(checkpoint, entry, self._data_dir)
        except (BundledModelMissing, FileNotFoundError) as error:
            raise JobFailed(str(error)) from error
        return TrainingSpec(
            job_id=job.job_id,
            base_model=entry.name,
            checkpoint=model,
            revision=entry.revision,
            baseline_adapter=await self._baseline(request),
            method=request.method,
            epochs=request.epochs,
            learning_rate=request.learning_rate,
            lora=request.lora,
            eval_fraction=request.eval_fraction,
            seed=request.seed,
            cpu_number_format=cpu_number_format(self._settings.cpu_number_format),
            max_length=min(self._settings.training_max_length, entry.context_length, self._settings.max_model_len or entry.context_length),
        )

    async def _baseline(self, request: TrainingRequest) -> str | None:
        adapter_id = request.baseline_adapter_id
        if adapter_id is None:
            return None
        stored = await self._until_stored(lambda: self._store.find(request.scope, adapter_id))
        if stored is None or stored.base_model != request.base_model:
            raise JobFailed("The adapter in use, with which the new one was to be compared, is gone or belongs to another base model")
        return str(await self._until_stored(lambda: self._store.folder(stored)))

    async def _publish(self, job: Job[TrainingRequest]) -> None:
        adapter, scope, base_model = self._folder(job).adapter, job.request.scope, job.request.base_model

        async def publish() -> None:
            await self._store.publish(adapter, scope=scope, adapter_id=job.job_id, base_model=base_model)

        try:
            await self._until_stored(publish)
        except AdapterExists:
            # An earlier run of this job came so far and no further: nobody knows of that adapter, and its figures are lost.
            await self._until_stored(lambda: self._store.delete(scope, job.job_id))
            await self._until_stored(publish)

    async def _until_stored(self, call: Callable[[], Awaitable[Found]]) -> Found:
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

    def _folder(self, job: Job[TrainingRequest]) -> TrainingFolder:
        return TrainingFolder(self._folders / job.job_id)
