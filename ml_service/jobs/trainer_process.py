"""The subprocess that trains: started at the lowest priority, read line by line, never left behind. And the folder that it works in."""

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
import structlog

from ml_service.jobs.queue import JobFailed
from ml_service.settings import Settings
from ml_service.training.spec import ADAPTER, SAMPLES, SPEC, Said, TrainingSpec
from shared.contracts.training import TrainingSample
from shared.processes import launching
from shared.settings import FILE_SUFFIX

PROCESS: Final = "process"
"""The file with the number of the trainer's process group."""
MODULE: Final = "ml_service.training"
LINE_BYTES: Final = 64 * 2**20
"""A result's comparisons quote whole messages."""
OUT_OF_MEMORY_SCORE: Final = 500
"""Of all processes the kernel shall rather end this one (proc(5), oom_score_adj)."""
SECRETS: Final = ("ML_SERVICE_TOKEN", "REDIS_URL", "DATABASE_URL", "JWT_KEYS")
"""What a trainer has no use for."""

_decode: Final = msgspec.json.Decoder(Said).decode
log = structlog.get_logger(__name__)


class TrainerDied(JobFailed):
    """The process ended and did not say how the training went."""


class TrainerSilent(TrainerDied):
    """Nothing was heard of the process for too long."""


class TrainingFolder:
    """The folder of one job: written for the trainer, kept while the job is open so that it can be resumed, then removed.

    Only this user may read it, since it holds people's messages.
    """

    def __init__(self, path: Path) -> None:
        """The path's last part is the job's id, which was checked when the job was accepted: it is a name, not a path."""
        self.path = path

    @property
    def adapter(self) -> Path:
        return self.path / ADAPTER

    def prepare(self, spec: TrainingSpec, samples: Iterable[TrainingSample]) -> None:
        """Write what the trainer reads; checkpoints of an earlier run stay, its trainer does not.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self._end_process()
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(SAMPLES, b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples))
        self._write(SPEC, msgspec.json.encode(spec))

    def note_process(self, group: int) -> None:
        """Remember who works here."""
        self._write(PROCESS, b"%d" % group)

    def remove(self) -> None:
        self._end_process()
        shutil.rmtree(self.path, ignore_errors=True)

    def _end_process(self) -> None:
        """Kill a trainer that still works here although its worker has lost the job: two would spoil each other's checkpoints."""
        with suppress(OSError, ValueError):
            group = int((self.path / PROCESS).read_bytes())
            if self.path.name.encode() in Path(f"/proc/{group}/cmdline").read_bytes():  # else the number is another's by now
                os.killpg(group, signal.SIGKILL)

    def _write(self, name: str, data: bytes) -> None:
        new = self.path / f"{name}.new"
        with open(new, "wb", opener=lambda path, flags: os.open(path, flags, mode=0o600)) as file:
            file.write(data)
        new.replace(self.path / name)


class TrainerProcess:
    """A running trainer. Use `start`."""

    def __init__(self, process: asyncio.subprocess.Process, stall_seconds: float) -> None:
        self._process = process
        self._stall_seconds = stall_seconds
        # What it has started may outlive it, and would keep its output open.
        self._ended = asyncio.create_task(self._end_with_all())

    @classmethod
    async def start(cls, folder: Path, settings: Settings, module: str = MODULE) -> "TrainerProcess":
        """Have the job in this folder trained, by a module that does as `ml_service.training.spec` says."""
        alone = settings.training_processes == 1
        # accelerate ends what it has started when it is asked to; a killed launcher could not.
        process = await asyncio.create_subprocess_exec(
            *launching(
                command(module, folder, settings.training_processes),
                signal.SIGKILL if alone else signal.SIGTERM,
                standing_back=settings.training_priority == "idle",
            ),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_BYTES,
            env=_environment(settings),
            start_new_session=True,
        )
        _let_the_kernel_end_it_first(process.pid)
        return cls(process, settings.training_stall_seconds)

    @property
    def group(self) -> int:
        """The number of its process group."""
        return self._process.pid

    async def says(self) -> AsyncGenerator[Said, None]:
        """What it says until it ends; anything else on its output is passed over.

        Raises:
            TrainerDied: it was silent for too long.
        """
        assert self._process.stdout is not None
        while True:
            try:
                async with asyncio.timeout(self._stall_seconds):
                    line = await self._process.stdout.readline()
            except TimeoutError:
                raise TrainerSilent(f"The training process gave no sign of life for {self._stall_seconds:.0f} s and was stopped") from None
            if not line:
                return
            try:
                said = _decode(line)
            except msgspec.MsgspecError:
                log.debug("trainer said something else", bytes=len(line))
                continue
            yield said

    async def death(self) -> TrainerDied:
        """Why it ended, when it has said nothing about it."""
        await asyncio.shield(self._ended)
        code = self._process.returncode or 0
        if code == -signal.SIGKILL:
            return TrainerDied(
                "The training process was killed, most likely because memory ran out; train on fewer or shorter samples, or on a machine "
                "with more memory"
            )
        how = f"crashed ({signal.Signals(-code).name})" if code < 0 else f"ended with code {code} and said nothing"
        return TrainerDied(f"The training process {how}; the training worker's log has the reason")

    async def stop(self, grace_seconds: float) -> None:
        """Ask it to end, wait, and kill what is left of it. Afterwards its memory is free."""
        self._signal(signal.SIGTERM)
        await self.end(grace_seconds)

    async def end(self, grace_seconds: float) -> None:
        """Wait for it to end, and kill it when that takes too long."""
        done, _ = await asyncio.wait([self._ended], timeout=grace_seconds)
        if not done:
            self._signal(signal.SIGKILL)
            await asyncio.wait([self._ended])

    async def _end_with_all(self) -> None:
        await self._process.wait()
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._ended.done():  # the number may be another's by now
            return
        with suppress(ProcessLookupError):  # all of the group have ended
            os.killpg(self._process.pid, number)


def command(module: str, folder: Path, processes: int) -> list[str]:
    """What trains the job in a folder."""
    if processes == 1:
        return [sys.executable, "-m", module, str(folder)]
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--num_processes", str(processes), "--num_machines", "1"]
    return [*launcher, "--mixed_precision", "no", "--dynamo_backend", "no", "-m", module, str(folder)]


def _environment(settings: Settings) -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name.removesuffix(FILE_SUFFIX) not in SECRETS}
    if settings.training_threads:
        environment["OMP_NUM_THREADS"] = environment["MKL_NUM_THREADS"] = str(settings.training_threads)
    return {**environment, "PYTHONUNBUFFERED": "1", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_DISABLE_TELEMETRY": "1"}


def _let_the_kernel_end_it_first(pid: int) -> None:
    with suppress(OSError):  # not Linux, or it has ended already
        Path(f"/proc/{pid}/oom_score_adj").write_text(str(OUT_OF_MEMORY_SCORE))
