"""Samples a second of the trainer, beside a bare PEFT loop over the same samples in the same precision."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from ml_service.models.bundled import unpack
from ml_service.models.catalogue import builtin_catalogue, bundled_folder
from ml_service.training.loop import BATCH_SIZE
from shared.contracts.generation import Turn
from shared.contracts.training import TrainingSample
from tests.benchmarks.measure import Goal, Measurement, alternate
from tests.fixtures.ml_service import DATA_DIR
from tests.fixtures.training import BASE_MODEL, SYSTEM, spec_of, style_samples, write_job

MOST_ROUNDS = 3
"""Each side of a round loads the model anew."""
WARM_UP_STEPS = 2
HISTORY_TURNS = 6
_STEP = re.compile(rb'"step":(\d+),"total_steps":(?!0,)|^step (\d+)')


def measure(folder: Path, rounds: int) -> list[Measurement]:
    """Train the same two epochs on both sides, several times."""
    entry = builtin_catalogue()[BASE_MODEL]
    checkpoint = unpack(entry.location, bundled_folder(entry, DATA_DIR))
    job = write_job(folder / "job", spec_of(checkpoint, epochs=2, eval_fraction=0.05, comparisons=0, max_length=512), _conversations())
    ours, theirs = alternate(
        min(rounds, MOST_ROUNDS),
        lambda: _samples_per_second("ml_service.training", shutil.copytree(job, folder / f"ours-{time.monotonic_ns()}")),
        lambda: _samples_per_second("tests.benchmarks.bare_peft_loop", job),
    )
    return [
        Measurement(
            what="training, SmolLM2 135M, LoRA rank 8", unit="samples/s", ours=ours, against="bare PEFT loop", theirs=theirs,
            goal=Goal(rule="ratio at least", value=0.8),
        )
    ]  # fmt: skip


def _conversations() -> list[TrainingSample]:
    """The samples of the tests, each after a few turns of history."""
    samples = style_samples()
    said = [
        turn
        for sample in samples
        for turn in (Turn(role="user", content=(sample.messages or [SYSTEM])[-1].content), Turn(role="assistant", content=sample.output))
    ]
    return [
        TrainingSample(
            messages=[SYSTEM, *said[index : index + HISTORY_TURNS], said[index + HISTORY_TURNS]],
            output=samples[(index + HISTORY_TURNS) // 2].output,
        )
        for index in range(0, len(said) - HISTORY_TURNS, 2)
    ]


def _samples_per_second(module: str, folder: Path) -> float:
    """Run a side and time its steps, without the first ones, which compile kernels."""
    reached: dict[int, float] = {}
    environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", module, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := _STEP.search(line):
                reached.setdefault(int(found.group(1) or found.group(2)), time.perf_counter())
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}; run it by hand to see why")
    first, last = min(step for step in reached if step >= WARM_UP_STEPS), max(reached)
    return (last - first) * BATCH_SIZE / (reached[last] - reached[first])
