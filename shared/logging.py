"""Structured logs: JSON in production, readable lines on a terminal.

What never goes into a log: message text, prompts, drafts, tokens, codes. Log ids, counts, statuses and durations. An exception is logged
with its kind and its traceback, not with what it says: databases and decoders quote the values that they could not take.
"""

import logging
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any, Literal

import msgspec
import structlog

from shared.errors import AppError

LogFormat = Literal["json", "console"]
Processors = list[Any]

_SAY_NO_VALUES = (AppError, OSError)
"""Ours are for clients to read, and the system's are about files and addresses: these are logged with what they say."""


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

    renderers: Processors = [structlog.processors.ExceptionRenderer(_without_values)]
    if log_format == "json":
        renderers.append(structlog.processors.JSONRenderer(_to_json))
    else:
        renderers.append(structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback))
    structlog.configure(
        processors=[*shared, name_service, *renderers],
        wrapper_class=structlog.make_filtering_bound_logger(level.lower()),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _unquote],
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
    # Of each call it writes the whole address.
    logging.getLogger("httpx").setLevel(logging.WARNING)
    # Of WebSockets it writes the address with its query string, and for debugging every header and frame.
    server = logging.getLogger("uvicorn.error")
    server.setLevel(max(root.level, logging.INFO))
    server.addFilter(_is_no_handshake)


def _is_no_handshake(record: logging.LogRecord) -> bool:
    return '"WebSocket %s"' not in str(record.msg)


def _without_values(exc_info: Any) -> str:
    """An exception with its causes, the first one first: where each was raised, and its kind."""
    return "\n".join(_described(exc_info[1], set()))


def _described(error: BaseException, seen: set[int]) -> list[str]:
    seen.add(id(error))
    lines: list[str] = []
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and id(before) not in seen:
        lines += [*_described(before, seen), "which led to:"]
    lines += [line.rstrip() for line in traceback.format_tb(error.__traceback__)]
    lines.append(f"{_kind(error)}: {error}" if isinstance(error, _SAY_NO_VALUES) else _kind(error))
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            lines += ["with:", *_described(part, seen)]
    return lines


def _kind(error: BaseException) -> str:
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def _unquote(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Libraries say in their lines, too, what an exception says; asyncio does so from the second line on."""
    exc_info = event.get("exc_info")
    if isinstance(exc_info, tuple) and isinstance(exc_info[1], BaseException):
        line, said = str(event["event"]), str(exc_info[1])
        event["event"] = (line.replace(said, _kind(exc_info[1])) if said else line).partition("\n")[0]
    return event


def _to_json(event: Any, **_: Any) -> str:
    """A line of JSON; what is no JSON by itself is written as its text."""
    return msgspec.json.encode(event, enc_hook=str).decode()
