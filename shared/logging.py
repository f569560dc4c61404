"""Structured logs: JSON in production, readable lines on a terminal.

What never goes into a log: message text, prompts, drafts, tokens, codes. Log ids, counts, statuses and durations.
"""

import logging
import sys
from typing import Any, Literal

import structlog

LogFormat = Literal["json", "console"]
Processors = list[Any]


def configure_logging(service: str, log_format: LogFormat, level: str) -> None:
    """Send structlog's and the standard library's records through one renderer to standard error.

    The request id and whatever else is bound with `structlog.contextvars` is on every line.
    """
    shared: Processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if log_format == "json":
        renderers: Processors = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer()]
    else:
        renderers = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                lambda _logger, _method, event: {"service": service, **event},
                *renderers,
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers = []
        logging.getLogger(name).propagate = True
    # Requests are logged once, by our own middleware, without their query strings.
    logging.getLogger("uvicorn.access").disabled = True
