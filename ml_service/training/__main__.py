"""`python -m ml_service.training FOLDER` runs the job that lies in a folder, as `spec` says.

Several GPUs: `accelerate launch --num_processes 2 -m ml_service.training FOLDER`; the first process speaks. SIGTERM ends it at once and
leaves the last checkpoint; so does the end of its parent.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import BinaryIO

import msgspec

from ml_service.training.failures import TrainingFailed, sentence, where
from ml_service.training.spec import SPEC, Failure, Reporter, TrainingSpec
from shared.processes import die_with_parent


def main() -> int:
    """Run a job; the exit code is 0 with a result and 1 with a failure."""
    parser = argparse.ArgumentParser(prog="python -m ml_service.training", description="Run the training job that lies in a folder.")
    parser.add_argument("folder", type=Path, help="with spec.json and samples.jsonl")
    folder: Path = parser.parse_args().folder.resolve()
    die_with_parent()
    first = os.environ.get("RANK", "0") == "0"
    stream = _take_over_stdout()
    reporter = Reporter(stream if first else None)
    try:
        spec = _read_spec(folder / SPEC)
        _prepare_environment(spec.checkpoint)
        from ml_service.training.job import run  # seconds of imports, over which the reporter already speaks

        last = run(spec, folder, reporter)
    except Exception as error:
        print(where(error), file=sys.stderr)
        reporter.end(Failure(error=sentence(error)))
        return 1
    if last is not None:
        reporter.end(last)
    return 0


def _read_spec(path: Path) -> TrainingSpec:
    try:
        return msgspec.json.decode(path.read_bytes(), type=TrainingSpec)
    except (FileNotFoundError, msgspec.DecodeError) as error:
        raise TrainingFailed(f"The job's {path.name} is missing or damaged.") from error


def _take_over_stdout() -> BinaryIO:
    """Keep standard output for the protocol: what libraries print goes to standard error."""
    stream = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return stream


def _prepare_environment(checkpoint: str) -> None:
    """Settings that libraries read when they are imported: nothing is told to anybody, and one GPU a process.

    OpenMP's threads by default spin while they wait for each other: beside a busy engine on the same cores that made a step five to ten
    times slower. Threads that sleep at once make it a fifth to a half slower on a quiet machine; some microseconds of spinning are the
    middle way.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if Path(checkpoint).is_dir():
        os.environ["HF_HUB_OFFLINE"] = "1"
    if "WORLD_SIZE" not in os.environ:
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]


if __name__ == "__main__":
    exit_code = main()
    sys.stderr.flush()
    os._exit(exit_code)  # everything is written; taking torch and its libraries apart would hold the adapter up for 1.5 s
