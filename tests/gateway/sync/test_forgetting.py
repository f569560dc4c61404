"""A text that goes takes the account's cached drafts with it."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import eventually


class CacheOnly(BaseHTTPRequestHandler):
    """An ML service of which only `POST /forget` is there, and that answers when it may."""

    cleared: list[str]
    may_answer: threading.Event

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/forget":
            self.cleared.append(asked["scope"])
        self.may_answer.wait()
        body = b'{"complete": true}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@dataclass(frozen=True)
class Cache:
    """Where it listens, what it was asked to clear, and whether it may answer."""

    url: str
    cleared: list[str]
    may_answer: threading.Event

    def cleared_of(self, device: Device) -> bool:
        """Whether the account's drafts are dropped."""
        return str(device.account_id) in self.cleared


@pytest.fixture(scope="module")
def cache() -> Iterator[Cache]:
    cleared: list[str] = []
    may_answer = threading.Event()
    may_answer.set()
    handler = type("Handler", (CacheOnly,), {"cleared": cleared, "may_answer": may_answer})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield Cache(f"http://127.0.0.1:{server.server_port}", cleared, may_answer)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def caching_gateway(run_folder: Path, own_database_url: str, redis_url: str, cache: Cache) -> Iterator[GatewayProcess]:
    process = GatewayProcess(run_folder, database_url=own_database_url, redis_url=redis_url, ml_service_url=cache.url)
    process.start()
    yield process
    process.stop()


CHANGES = [{"retractedAt": "2024-01-02T12:00:00Z"}, {"text": "Other words", "editedAt": "2024-01-02T12:00:00Z"}]


@pytest.mark.parametrize("change", CHANGES, ids=["retracted", "edited"])
def test_cached_drafts_are_dropped_after_the_answer(caching_gateway: GatewayProcess, cache: Cache, change: dict[str, str]) -> None:
    device = paired_device(caching_gateway.url)
    sync(device, [message("m")])

    cache.may_answer.clear()
    try:
        sync(device, [message("m", **change)])
        eventually(lambda: cache.cleared_of(device))
    finally:
        cache.may_answer.set()


def test_a_deleted_thread_drops_them_too(caching_gateway: GatewayProcess, cache: Cache) -> None:
    device = paired_device(caching_gateway.url)
    conversation = sync(device, [message("m")])["conversationId"]

    assert device.client.delete(f"/api/conversations/{conversation}").status_code == 204

    eventually(lambda: cache.cleared_of(device))


def test_nothing_is_dropped_when_no_text_goes(caching_gateway: GatewayProcess, cache: Cache) -> None:
    device = paired_device(caching_gateway.url)
    sync(device, [message("m")])
    sync(device, [message("m", replyToGuid="other"), message("n", retractedAt="2024-01-02T12:00:00Z")])

    time.sleep(1)

    assert not cache.cleared_of(device)


def test_without_an_ml_service_the_retraction_holds(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    sync(device, [message("m")])

    assert sync(device, [message("m", retractedAt="2024-01-02T12:00:00Z")])["updated"] == 1
