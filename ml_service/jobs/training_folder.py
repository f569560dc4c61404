"""A training job's folder: written for the trainer, kept while the job is open so that it can be resumed, then removed."""

import os
import shutil
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec

from ml_service.training.spec import ADAPTER, SAMPLES, SPEC, TrainingSpec
from shared.contracts.training import TrainingSample

PROCESS: Final = "process"
"""The file with the number of the trainer's process group."""


class TrainingFolder:
    """The folder of one job; only this user may read it, since it holds people's messages.

    Args:
        path: where it is; its name is the job's id.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def adapter(self) -> Path:
        return self.path / ADAPTER

    def prepare(self, spec: TrainingSpec, samples: Iterable[TrainingSample]) -> None:
        """Write what the trainer reads; checkpoints of an earlier run stay.

        Raises:
            OSError: the disk is full, or the folder cannot be written.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write(SAMPLES, b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples))
        self._write(SPEC, msgspec.json.encode(spec))

    def note_process(self, group: int) -> None:
        """Remember who works here."""
        self._write(PROCESS, b"%d" % group)

    def end_process(self) -> None:
        """Kill a trainer that still works here although its worker has lost the job: two would spoil each other's checkpoints."""
        with suppress(OSError, ValueError):
            group = int((self.path / PROCESS).read_bytes())
            if self.path.name.encode() in Path(f"/proc/{group}/cmdline").read_bytes():  # else the number is another's by now
                os.killpg(group, signal.SIGKILL)

    def remove(self) -> None:
        self.end_process()
        shutil.rmtree(self.path, ignore_errors=True)

    def _write(self, name: str, data: bytes) -> None:
        new = self.path / f"{name}.new"
        with open(new, "wb", opener=lambda path, flags: os.open(path, flags, mode=0o600)) as file:
            file.write(data)
        new.replace(self.path / name)


class TrainingFolders:
    """All jobs' folders on this machine."""

    def __init__(self, data_dir: Path) -> None:
        self._root = data_dir / "training"

    def of(self, job_id: str) -> TrainingFolder:
        """A job's folder, which need not be there. The id was checked when the job was accepted: it is a name, not a path."""
        return TrainingFolder(self._root / job_id)

    def present(self) -> Iterator[str]:
        """The jobs that have a folder."""
        with suppress(FileNotFoundError):
            yield from sorted(each.name for each in self._root.iterdir() if each.is_dir())
