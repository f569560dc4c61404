"""`python -m ml_service.jobs generation` (or `training`) works on a queue until it is stopped."""

import argparse
import os
import sys
from collections.abc import Awaitable, Callable

import uvloop

from ml_service import logs
from ml_service.jobs.generation_worker import run_generation_worker
from ml_service.jobs.training_worker import run_training_worker
from ml_service.settings import Settings
from shared.settings import SettingsError, load
from shared.tracing import configure_tracing

WORKERS: dict[str, Callable[[Settings], Awaitable[None]]] = {"generation": run_generation_worker, "training": run_training_worker}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m ml_service.jobs", description="Work on a queue until stopped.")
    parser.add_argument("queue", choices=WORKERS, help="which queue")
    queue = parser.parse_args().queue
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        print(f"The worker cannot start:\n{error}", file=sys.stderr)
        return 2
    logs.configure(settings)
    configure_tracing(f"{queue}_worker", settings.otel_exporter_otlp_endpoint)
    uvloop.run(WORKERS[queue](settings))
    return 0


if __name__ == "__main__":
    sys.exit(main())
