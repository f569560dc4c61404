"""What the bare engine reaches in the number format that is chosen for this processor, beside the other one."""

import json
import subprocess
import sys

from ml_service.models.number_format import NumberFormat, cpu_number_format
from tests.benchmarks.format_engine import PROMPT_TOKENS, STREAMS
from tests.benchmarks.measure import Goal, Measurement, alternate

MOST_ROUNDS = 2
"""Each side of a round loads the model anew."""


def measure(rounds: int) -> list[Measurement]:
    chosen = cpu_number_format("auto")
    other: NumberFormat = "float32" if chosen == "bfloat16" else "bfloat16"
    reached: dict[str, list[dict[str, float]]] = {chosen: [], other: []}

    def run(number_format: NumberFormat) -> float:
        reached[number_format].append(_reached(number_format))
        return 0.0

    alternate(min(rounds, MOST_ROUNDS), lambda: run(chosen), lambda: run(other))
    ours, theirs = ({name: [each[name] for each in reached[side]] for name in reached[side][0]} for side in (chosen, other))
    return [
        *(
            Measurement(
                what=f"{chosen}, {streams} streams", unit="tokens/s", ours=ours[str(streams)], against=other, theirs=theirs[str(streams)],
                goal=Goal(rule="ratio at least", value=0.8),
            )
            for streams in STREAMS
        ),
        Measurement(
            what=f"{chosen}, first token after {PROMPT_TOKENS:,} tokens", unit="s", ours=ours["first"], against=other,
            theirs=theirs["first"], goal=Goal(rule="ratio at most", value=1.25),
        ),
    ]  # fmt: skip


def _reached(number_format: NumberFormat) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.format_engine", number_format]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    [line] = [line for line in done.stdout.splitlines() if line.startswith("bench ")]
    reached: dict[str, float] = json.loads(line.removeprefix("bench "))
    return reached
