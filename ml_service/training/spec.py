"""What a training subprocess is given and what it says: files in a job's folder, and lines of JSON on standard output.

    <folder>/spec.json        TrainingSpec
    <folder>/samples.jsonl    a TrainingSample a line, in the order given
    <folder>/checkpoints/     kept, so that the same job resumes here after a crash
    <folder>/adapter/         PEFT's adapter_config.json and adapter_model.safetensors, there once a result was said

It says `Progress` at least every two seconds, in the end exactly one that is `completed` (exit code 0), or a `Failure` (exit code 1). One
that says neither was killed. This module imports nothing heavy: the worker reads it too.
"""

import os
import threading
from typing import Any, BinaryIO, Final, TypeAlias

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ml_service.models.number_format import NumberFormat
from shared.contracts.training import DraftComparison, LoraSettings, LossPoint, TrainingMethod, TrainingStatus

SPEC: Final = "spec.json"
SAMPLES: Final = "samples.jsonl"
CHECKPOINTS: Final = "checkpoints"
ADAPTER: Final = "adapter"

INTERVAL_SECONDS: Final = 0.5
"""How often progress is said, whether it is new or not."""


class TrainingSpec(Struct, frozen=True, kw_only=True):
    """One job. Paths are of this machine; `checkpoint` is a folder or a repository of the hub, as `models.catalogue.checkpoint` says."""

    job_id: str
    base_model: str
    checkpoint: str
    revision: str | None = None
    baseline_adapter: str | None = None
    """Folder of the adapter in use now; none means the base model."""
    method: TrainingMethod
    epochs: int
    learning_rate: float
    lora: LoraSettings
    eval_fraction: float
    seed: int
    max_length: int
    """Tokens that prompt and reply may have together; older turns are dropped to fit."""
    cpu_number_format: NumberFormat = "float32"
    """What is computed in where there is no GPU."""
    comparisons: int = 5
    """Of how many held-out messages replies are written before and after."""


class Progress(Struct, frozen=True, kw_only=True, tag="progress"):
    """How far it is; the fields are those of `TrainingState`. Once it is `completed`, the adapter is in its folder."""

    status: TrainingStatus
    progress: float
    epoch: float = 0.0
    step: int = 0
    total_steps: int = 0
    loss: float | None = None
    train_samples: int = 0
    eval_samples: int = 0
    peak_memory_mib: int | None = None
    eval_loss: float | None = None
    baseline_eval_loss: float | None = None
    """Both are None until all is done, and when there were too few samples to hold any out."""
    history: list[LossPoint]
    comparisons: list[DraftComparison] = []


class Failure(Struct, frozen=True, kw_only=True, tag="failure"):
    """Why there is no adapter: a sentence for people, without any text of a sample."""

    error: str


Said: TypeAlias = Progress | Failure


class Reporter:
    """Writes what the trainer says: `Progress` twice a second, however long a step takes, and in the end what came of it.

    Progress never goes back.
    """

    def __init__(self, stream: BinaryIO | None) -> None:
        """Begin to speak; without a stream (a process of several that is not the first) nothing is said."""
        self._stream = stream
        self._state = Progress(status="training", progress=0.0, history=[])
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="progress", daemon=True)
        self._thread.start()

    @property
    def state(self) -> Progress:
        return self._state

    def report(self, **changes: Any) -> None:
        """Change fields of `Progress`; they are said with the next line."""
        with self._lock:
            changed = replace(self._state, **changes)
            self._state = replace(changed, progress=round(max(changed.progress, self._state.progress), 2))

    def end(self, said: Said) -> None:
        """Say the last line."""
        self._ended.set()
        self._thread.join()
        self._say(said)

    def _repeat(self) -> None:
        while not self._ended.wait(INTERVAL_SECONDS):
            try:
                self._say(self._state)
            except OSError:
                os._exit(1)  # nobody listens any more

    def _say(self, said: Said) -> None:
        if self._stream is not None:
            self._stream.write(msgspec.json.encode(said) + b"\n")
            self._stream.flush()
