"""Structured logs: JSON in production, readable lines on a terminal.

What never goes into a log: message text, prompts, drafts, tokens, codes. Log ids, counts, statuses and durations.
"""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import msgspec
import structlog

LogFormat = Literal["json", "console"]
Processors = list[Any]

# By default tracebacks show each frame's variables: messages, prompts, tokens.
_TRACEBACKS = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def configure_logging(service: str, log_format: LogFormat, level: str) -> None:
    """Send structlog's and the standard library's records through the same processors to standard error.

    The request id and whatever else is bound with `structlog.contextvars` is on every line. Our own lines are written without the detour
    through the standard library, whose records cost more than the rest of the line: there is one a request.
    """
    shared: Processors = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]

    def name_service(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> dict[str, Any]:
        return {"service": service, **event}

    if log_format == "json":
        renderers: Processors = [structlog.processors.ExceptionRenderer(_TRACEBACKS), structlog.processors.JSONRenderer(_to_json)]
    else:
        renderers = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    structlog.configure(
        processors=[*shared, name_service, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                name_service,
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
    # Of WebSockets it writes the address with its query string, and for debugging every header and frame.
    server = logging.getLogger("uvicorn.error")
    server.setLevel(max(root.level, logging.INFO))
    server.addFilter(_is_no_handshake)


def _is_no_handshake(record: logging.LogRecord) -> bool:
    return '"WebSocket %s"' not in str(record.msg)


def _to_json(event: Any, **_: Any) -> str:
    """A line of JSON; what is no JSON by itself is written as its text."""
    return msgspec.json.encode(event, enc_hook=str).decode()
