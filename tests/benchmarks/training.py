"""The trainer: its steps beside a bare PEFT loop's over the same tokens, minutes for a hundred replies, and memory."""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import msgspec

from ml_service.models.bundled import unpack
from ml_service.models.catalogue import builtin_catalogue, bundled_folder
from ml_service.models.number_format import cpu_number_format
from ml_service.training.spec import Failure, Said
from shared.contracts.training import TrainingSample
from tests.benchmarks.made_up_history import windows
from tests.benchmarks.measure import Goal, Measurement, alternate
from tests.fixtures.ml_service import DATA_DIR
from tests.fixtures.training import BASE_MODEL, spec_of, write_job

MOST_ROUNDS = 3
"""Each side of a round loads the model anew."""
WARM_UP_STEPS = 2
HISTORY = 10
"""Messages that a window has by default."""
MAX_LENGTH = 1024
_STEP = re.compile(rb'"step":(\d+),"total_steps":(?!0,)|^step (\d+)')


def measure(folder: Path, rounds: int, replies: int) -> list[Measurement]:
    """Three comparisons of the same replies; some minutes."""
    rounds = min(rounds, MOST_ROUNDS)
    job = training_job(folder / "job", windows(replies, turns_before=HISTORY, threaded=True), eval_fraction=0.05)
    ours, theirs = alternate(
        rounds,
        lambda: _steps_per_second("ml_service.training", shutil.copytree(job, folder / f"ours-{time.monotonic_ns()}")),
        lambda: _steps_per_second("tests.benchmarks.bare_peft_loop", job),
    )
    whole = training_job(folder / "whole", windows(replies, turns_before=HISTORY, threaded=True))
    apart = training_job(folder / "apart", windows(replies, turns_before=HISTORY, threaded=False))
    peaks: list[float] = []
    stretches, each = alternate(rounds, lambda: _minutes(whole, peaks), lambda: _minutes(apart, []))
    return [
        Measurement(
            what="training, SmolLM2 135M, LoRA rank 8", unit="steps/s", ours=ours, against="bare PEFT loop, same tokens", theirs=theirs,
            goal=Goal(rule="ratio at least", value=0.95),
        ),
        Measurement(
            what=f"a hundred replies of history, an epoch, {HISTORY} messages each", unit="min", ours=stretches,
            against="every window by itself", theirs=each, goal=Goal(rule="ratio at most", value=0.5),
        ),
        Measurement(what="peak memory of that training", unit="MiB", ours=peaks, goal=Goal(rule="at most", value=3072)),
    ]  # fmt: skip


def training_job(folder: Path, samples: list[TrainingSample], **changes: object) -> Path:
    """A job of one epoch on the bundled model, in the number format of this machine."""
    entry = builtin_catalogue()[BASE_MODEL]
    checkpoint = unpack(entry.location, bundled_folder(entry, DATA_DIR))
    defaults = {"epochs": 1, "comparisons": 0, "max_length": MAX_LENGTH, "cpu_number_format": cpu_number_format("auto")}
    return write_job(folder, spec_of(checkpoint, **{**defaults, **changes}), samples)


def _environment() -> dict[str, str]:
    return {**os.environ, "OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000", "HF_HUB_OFFLINE": "1"}


def _minutes(job: Path, peaks: list[float]) -> float:
    """Minutes of a whole job, evaluation included, for a hundred replies."""
    folder = shutil.copytree(job, job.with_name(f"{job.name}-{time.monotonic_ns()}"))
    begin = time.perf_counter()
    command = [sys.executable, "-m", "ml_service.training", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment())
    minutes = (time.perf_counter() - begin) / 60
    result: Said = msgspec.json.decode(done.stdout.splitlines()[-1], type=Said)
    if isinstance(result, Failure):
        raise RuntimeError(f"The training did not succeed: {result}")
    peaks.append(float(result.peak_memory_mib or 0))
    return minutes * 100 / (result.train_samples + result.eval_samples)


def _steps_per_second(module: str, folder: Path) -> float:
    """Run a side and time its steps, without the first ones, which compile kernels."""
    reached: dict[int, float] = {}
    command = [sys.executable, "-m", module, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=_environment()) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if found := _STEP.search(line):
                reached.setdefault(int(found.group(1) or found.group(2)), time.perf_counter())
    if process.returncode:
        raise RuntimeError(f"{module} ended with {process.returncode}; run it by hand to see why")
    first, last = min(step for step in reached if step >= WARM_UP_STEPS), max(reached)
    return (last - first) / (reached[last] - reached[first])
