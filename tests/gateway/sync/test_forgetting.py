"""A text that goes takes the account's cached drafts with it."""

import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.gateway import GatewayProcess


class CacheOnly(BaseHTTPRequestHandler):
    """An ML service of which only `DELETE /cache` is there, and slow."""

    cleared: list[str]

    def do_DELETE(self) -> None:
        self.cleared.append(self.path)
        time.sleep(2)
        body = b'{"invalidated": 1}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Keep quiet."""


@pytest.fixture(scope="module")
def cache() -> Iterator[tuple[str, list[str]]]:
    """Where it listens, and what it was asked to clear."""
    cleared: list[str] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Cache", (CacheOnly,), {"cleared": cleared}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", cleared
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module")
def caching_gateway(run_folder: Path, database_url: str, redis_url: str, cache: tuple[str, list[str]]) -> Iterator[GatewayProcess]:
    process = GatewayProcess(run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=cache[0])
    process.start()
    yield process
    process.stop()


def wait_for(device: Device, cleared: list[str]) -> bool:
    """Whether the account's drafts are dropped within 5 seconds."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if f"/cache?pattern={device.account_id}:*" in cleared:
            return True
        time.sleep(0.05)
    return False


CHANGES = [{"retractedAt": "2024-01-02T12:00:00Z"}, {"text": "Other words", "editedAt": "2024-01-02T12:00:00Z"}]


@pytest.mark.parametrize("change", CHANGES, ids=["retracted", "edited"])
def test_cached_drafts_are_dropped_after_the_answer(
    caching_gateway: GatewayProcess, cache: tuple[str, list[str]], change: dict[str, str]
) -> None:
    device = paired_device(caching_gateway.url)
    sync(device, [message("m")])

    began = time.monotonic()
    sync(device, [message("m", **change)])

    assert time.monotonic() - began < 1.5
    assert wait_for(device, cache[1])


def test_a_deleted_thread_drops_them_too(caching_gateway: GatewayProcess, cache: tuple[str, list[str]]) -> None:
    device = paired_device(caching_gateway.url)
    conversation = sync(device, [message("m")])["conversationId"]

    assert device.client.delete(f"/api/conversations/{conversation}").status_code == 204

    assert wait_for(device, cache[1])


def test_nothing_is_dropped_when_no_text_goes(caching_gateway: GatewayProcess, cache: tuple[str, list[str]]) -> None:
    device = paired_device(caching_gateway.url)
    sync(device, [message("m")])
    sync(device, [message("m", replyToGuid="other"), message("n", retractedAt="2024-01-02T12:00:00Z")])

    time.sleep(1)

    assert not any(str(device.account_id) in path for path in cache[1])


def test_without_an_ml_service_the_retraction_holds(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    sync(device, [message("m")])

    assert sync(device, [message("m", retractedAt="2024-01-02T12:00:00Z")])["updated"] == 1
