"""A device as a user of locust: it calls the gateway, counts the answers by their kind, and hears of everything beside that."""

import json
import time
from collections import deque
from typing import Any, ClassVar
from uuid import uuid4

import gevent
from geventhttpclient.response import HTTPParseError
from locust import FastHttpUser

from tests.load.day import Day
from tests.load.ledger import Account, PairedDevice
from tests.load.listening import Listener

_CONNECTIONS_A_DAY = 6


class Client(FastHttpUser):  # type: ignore[misc]  # locust says nothing of its types
    """Takes one of the paired devices, and goes through the day with it."""

    abstract = True
    day: ClassVar[Day]
    unused: ClassVar[deque[tuple[Account, PairedDevice]]]
    listeners: ClassVar[list[Listener]] = []
    day_seconds: ClassVar[float]
    network_timeout = 300.0
    """A draft may wait for its turn."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        self._socket = len(self.unused) % 2 == 0
        self.account, self.paired = self.unused.popleft()

    def on_start(self) -> None:
        listener = Listener(
            self.host,
            self.account,
            self.paired,
            socket=self._socket,
            connected_seconds=self.day_seconds / _CONNECTIONS_A_DAY,
            report=lambda name, seconds, error: self.report("EVENTS", name, seconds, error),
        )
        self.listeners.append(listener)
        listener.start()

    def wait_time(self) -> float:
        return self.day.pause()

    def report(self, method: str, name: str, seconds: float, error: Exception | None = None) -> None:
        """Count something that is no request of its own."""
        self.environment.events.request.fire(
            request_type=method, name=name, response_time=seconds * 1000, response_length=0, exception=error, context={}
        )

    def call(self, method: str, path: str, name: str, body: Any = None, **headers: str) -> Any:
        """An answer's body; None if there was none: what went wrong is counted."""
        all_headers = self._headers(method, headers)
        with self.client.request(method, path, name=name, json=body, headers=all_headers, catch_response=True) as answer:
            pause = _judged(answer)
            found = answer.json() if _succeeded(answer) else None
        gevent.sleep(pause)
        return found

    def streamed(self, path: str, name: str, body: Any) -> Any:
        """The body of the event that ends a stream; None if it was another one than `completed`."""
        headers = self._headers("POST", {"Accept": "text/event-stream", "Cache-Control": "no-cache"})
        began = time.perf_counter()
        with self.client.post(path, name=f"{name}: begin", json=body, headers=headers, stream=True, catch_response=True) as answer:
            pause = _judged(answer)
        if not _succeeded(answer):
            gevent.sleep(pause)
            return None
        try:
            event, data = _last_event(answer.stream)
            error = None if event == "completed" else Exception(f"ended with {event or 'nothing'}")
        except (OSError, HTTPParseError) as broken:
            data, error = b"null", broken
        self.report("POST", name, time.perf_counter() - began, error)
        return json.loads(data) if error is None else None

    def _headers(self, method: str, more: dict[str, str]) -> dict[str, str]:
        headers = {"Authorization": f"Bearer {self.paired.token}", **{name.replace("_", "-"): value for name, value in more.items()}}
        if method == "POST":
            headers["Idempotency-Key"] = str(uuid4())
        return headers


def _judged(answer: Any) -> int:
    """Name an answer's error by its kind; returns how many seconds to wait, if that is what it says."""
    if answer.status_code in (429, 503) and "Retry-After" in answer.headers:
        answer.request_meta["name"] += f" (told to wait, {answer.status_code})"
        answer.success()
        return int(answer.headers["Retry-After"])
    if answer.status_code == 0:
        answer.failure(f"no answer: {type(answer.error).__name__}")
    elif _succeeded(answer):
        answer.success()
    else:
        answer.failure(f"{answer.status_code}: {_message(answer.text)}")
    return 0


def _succeeded(answer: Any) -> bool:
    return bool(200 <= answer.status_code < 300)


def _message(text: str | None) -> str:
    try:
        return str(json.loads(text or "")["message"])[:200]
    except (ValueError, KeyError, TypeError):
        return "an error without the documented body"


def _last_event(stream: Any) -> tuple[str, bytes]:
    name, data = "", b"null"
    while block := stream.readline(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        name, data = fields[b"event"].decode(), fields[b"data"]
    return name, data
