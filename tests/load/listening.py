"""A device's connection for events, over a WebSocket or as a stream, which breaks every now and then and is made anew."""

import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import gevent
from geventhttpclient import HTTPClient
from geventhttpclient.response import HTTPParseError
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import connect

from tests.load.ledger import Account, EventId, PairedDevice

_AWAY_SECONDS = 2.0
_RETRY_SECONDS = 1.0
_PATIENCE_SECONDS = 60.0
"""A comment or a ping comes every 20 seconds."""
_GATEWAY_STOPS = 1001
"""Why a gateway ends the streams that it has: its clients come back."""

Report = Callable[[str, float, Exception | None], None]
"""Takes what was done, how many seconds that took, and why it failed."""


class ToldToWait(Exception):
    """The gateway is busy, and said when to come back."""

    def __init__(self, seconds: int) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class StreamFailed(Exception):
    """The gateway did not open a stream, or ended one that it should not have ended."""


class Listener:
    """Hears everything that happens in an account, however often the connection breaks."""

    def __init__(self, url: str, account: Account, device: PairedDevice, *, socket: bool, connected_seconds: float, report: Report) -> None:
        """`connected_seconds`: after so long, more or less, the device loses its connection."""
        self._url = url
        self._account = account
        self._device = device
        self._events = self._of_socket if socket else self._of_stream
        self._what = "events: open WebSocket" if socket else "events: open stream"
        self._connected_seconds = connected_seconds
        self._report = report
        self._steady = False
        self._running: Any = None

    def start(self) -> None:
        self._running = gevent.spawn(self._run)

    def stay(self) -> None:
        """Lose no more connections but the one that there is."""
        self._steady = True

    def end(self) -> None:
        self._running.kill()

    def _run(self) -> None:
        while True:
            lost_at = None if self._steady else time.monotonic() + random.expovariate(1 / self._connected_seconds)
            try:
                self._listen(lost_at)
            except ToldToWait as told:
                self._report(f"{self._what} (told to wait)", 0, None)
                gevent.sleep(told.seconds)
            except (OSError, WebSocketException, HTTPParseError, StreamFailed) as error:
                self._report(self._what, 0, error)
                gevent.sleep(_RETRY_SECONDS)
            else:
                gevent.sleep(0 if self._steady else random.uniform(0, _AWAY_SECONDS))

    def _listen(self, lost_at: float | None) -> None:
        previous: EventId = (0, 0)
        for event in self._events(lost_at):
            if event["type"] != "stream:closed":
                previous = self._account.hear(self._device, event, previous)
            elif (code := event["data"]["code"]) != _GATEWAY_STOPS:
                raise StreamFailed(f"ended with {code}")

    def _of_socket(self, lost_at: float | None) -> Iterator[dict[str, Any]]:
        address = self._url.replace("http", "ws", 1) + "/api/events"
        began = time.perf_counter()
        try:
            with connect(address, additional_headers=self._headers(), compression=None, proxy=None, close_timeout=1) as socket:
                self._opened(began)
                while True:
                    yield json.loads(socket.recv(timeout=_left(lost_at)))
        except InvalidStatus as refused:
            raise _refusal(refused.response.status_code, refused.response.headers) from None
        except TimeoutError:  # the connection is lost
            return
        except ConnectionClosed as closed:
            if closed.rcvd is None or closed.rcvd.code != _GATEWAY_STOPS:
                raise

    def _of_stream(self, lost_at: float | None) -> Iterator[dict[str, Any]]:
        began = time.perf_counter()
        client = HTTPClient.from_url(self._url, connection_timeout=_PATIENCE_SECONDS, network_timeout=_PATIENCE_SECONDS)
        try:
            answer = client.get("/api/events/stream", headers=self._headers())
            if answer.status_code != 200:
                raise _refusal(answer.status_code, answer.info())
            self._opened(began)
            while block := _read_block(answer, lost_at):
                if data := [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]:
                    yield json.loads(data[0])
        finally:
            client.close()

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._device.token}", "Last-Event-ID": self._device.last_event}

    def _opened(self, began: float) -> None:
        self._report(self._what, time.perf_counter() - began, None)
        self._device.connections += 1


def _read_block(answer: Any, lost_at: float | None) -> bytes:
    """What comes up to the next empty line; nothing when the answer has ended or the connection is lost."""
    with gevent.Timeout(_left(lost_at), False):
        return bytes(answer.readline(b"\n\n"))
    return b""


def _left(lost_at: float | None) -> float | None:
    return None if lost_at is None else max(0.0, lost_at - time.monotonic())


def _refusal(status: int, headers: Mapping[str, str]) -> Exception:
    if status in (429, 503) and "Retry-After" in headers:
        return ToldToWait(int(headers["Retry-After"]))
    return StreamFailed(f"refused with {status}")
