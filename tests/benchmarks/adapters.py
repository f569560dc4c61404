"""What personal adapters cost: loading one, several in one batch beside one and none, and a draft whose adapter had left the engine."""

import subprocess
import sys
from pathlib import Path

import msgspec

from tests.benchmarks.adapters_engine import STREAMS, AdapterFigures
from tests.benchmarks.measure import Goal, Measurement
from tests.fixtures.ml_service import DATA_DIR


def measure(folder: Path, rounds: int) -> list[Measurement]:
    """Some minutes, on an engine of its own in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.adapters_engine", str(DATA_DIR), str(folder / "adapters-bench"), str(rounds)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = [line for line in run.stdout.splitlines() if line.startswith("bench figures ")]
    if not lines:
        raise RuntimeError(f"The adapters could not be measured:\n{run.stderr[-2000:]}")
    figures = msgspec.json.decode(lines[0].removeprefix("bench figures "), type=AdapterFigures)
    return [
        Measurement(
            what="loading an adapter into the engine (add_lora)",
            unit="ms",
            ours=figures.add_lora,
            goal=Goal(rule="at most", value=60),
        ),
        Measurement(
            what=f"4 adapters in one batch, {STREAMS} streams",
            unit="tokens/s",
            ours=figures.four,
            against="1 adapter",
            theirs=figures.one,
            goal=Goal(rule="ratio at least", value=0.8),
        ),
        Measurement(
            what=f"4 adapters in one batch, {STREAMS} streams",
            unit="tokens/s",
            ours=figures.four,
            against="the base model on the same engine",
            theirs=figures.base,
            goal=Goal(rule="ratio at least", value=0.55),
        ),
        Measurement(
            what="first token after the adapter was evicted",
            unit="ms",
            ours=figures.evicted_first_token,
            against="with the adapter in the engine",
            theirs=figures.resident_first_token,
        ),
    ]
