"""Logs of this service's processes: its own, and those that vLLM starts."""

import json
import logging
import os
from pathlib import Path
from typing import Any

from ml_service.settings import Settings
from shared.logging import LogFormat, configure_logging

SERVICE = "ml_service"


def configure(settings: Settings) -> None:
    """Send this process's records, vLLM's among them, through the common renderer."""
    configure_logging(SERVICE, settings.log_format, settings.log_level)


def configure_engine_processes(settings: Settings, folder: Path) -> None:
    """Let vLLM, here and in the processes that it starts, log as this service does.

    vLLM reads a `logging.config` file in each of its processes. Must come before vLLM is imported.
    """
    level = "WARNING" if settings.log_level == "info" else settings.log_level.upper()  # vLLM's own info is pages for each start
    arguments = {"()": "ml_service.logs.engine_formatter", "log_format": settings.log_format, "level": settings.log_level}
    config: dict[str, Any] = {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {SERVICE: arguments},
        "handlers": {SERVICE: {"class": "logging.StreamHandler", "stream": "ext://sys.stderr", "formatter": SERVICE}},
        "loggers": {
            "vllm": {"handlers": [SERVICE], "level": level, "propagate": False},
            "vllm.entrypoints": {"level": "CRITICAL"},  # speaks of single requests, in the clients' own words
            "uvicorn.access": {"handlers": [], "propagate": False},  # such a file would switch it on again
        },
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "vllm-logging.json"
    file.write_text(json.dumps(config))
    os.environ["VLLM_LOGGING_CONFIG_PATH"] = str(file)
    # vLLM imports a package that would set the root logger to ERROR.
    os.environ["SAGEMAKER_CONTAINER_LOG_LEVEL"] = settings.log_level.upper()


def engine_formatter(log_format: LogFormat, level: str) -> logging.Formatter:
    """The common renderer, for a `logging.config` file; what else the process logs goes through it too."""
    configure_logging(SERVICE, log_format, level)
    (handler,) = logging.getLogger().handlers
    assert handler.formatter is not None
    return handler.formatter
