"""Errors say what is wrong, also where something else answers than a gateway."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from uuid import uuid4

import msgspec
import pytest
from assistant_client import Client, MemoryStore, Retries
from assistant_client.device import this_device
from assistant_client.errors import BadRequest, Forbidden, NotFound, Refused, TooManyRequests, Unauthorized, Unavailable, UnexpectedAnswer
from assistant_client.models import Event

from tests.clients.conftest import elsewhere
from tests.clients.threads import thread
from tests.factories import wrong_code


class Elsewhere:
    """A web server that always answers the same, and counts how often."""

    def __init__(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.asked = 0
        elsewhere = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                elsewhere.asked += 1
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer  # noqa: N815 - as `http.server` names them

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@contextmanager
def something_else(status: int, body: bytes, headers: dict[str, str] | None = None) -> Iterator[Elsewhere]:
    """Another server than a gateway, during the block."""
    elsewhere = Elsewhere(status, body, headers or {})
    serving = Thread(target=elsewhere.server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield elsewhere
    finally:
        elsewhere.server.shutdown()
        elsewhere.server.server_close()
        serving.join()


def at(client: Client, other: Elsewhere, attempts: int = 1) -> Client:
    """The same device, calling the other server."""
    return Client(other.url, MemoryStore(elsewhere(client, other.url)), retries=Retries(attempts=attempts))


def test_a_bad_field_is_named(client: Client) -> None:
    batch = thread("Hello")
    without_zone = msgspec.structs.replace(batch.messages[0], sent_at=datetime(2026, 3, 6))
    with pytest.raises(BadRequest) as caught:
        client.sync_messages(msgspec.structs.replace(batch, messages=[without_zone]))

    assert [problem.field for problem in caught.value.details] == ["messages[0].sentAt"]
    assert "messages[0].sentAt" in str(caught.value)
    assert caught.value.request_id


def test_what_is_not_there_is_not_found(client: Client) -> None:
    with pytest.raises(NotFound):
        client.draft_details(uuid4())


def test_a_wrong_code_is_refused_and_the_fifth_for_a_while(client: Client) -> None:
    pairing = client.add_device(this_device("Phone"))
    with Client(client.url, MemoryStore()) as phone:
        for _ in range(5):
            with pytest.raises(Unauthorized):
                phone.pair(device_id=pairing.device_id, code=wrong_code(pairing.code))
        with pytest.raises(TooManyRequests) as caught:  # at once: it is more than anybody waits for
            phone.pair(device_id=pairing.device_id, code=pairing.code)

    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 60


def test_an_id_without_a_code_is_a_mistake(client: Client) -> None:
    with pytest.raises(ValueError, match="together"):
        client.pair(device_id=uuid4())


def test_an_address_needs_a_scheme() -> None:
    with pytest.raises(ValueError, match="http://"):
        Client("127.0.0.1:3100", MemoryStore())


@pytest.mark.parametrize(("status", "expected"), [(404, NotFound), (403, Forbidden), (502, Unavailable), (504, Unavailable)])
def test_a_page_of_another_server_is_no_answer_of_a_gateway(client: Client, status: int, expected: type[Exception]) -> None:
    with something_else(status, b"<h1>Hello</h1>") as other, at(client, other) as lost, pytest.raises(expected, match="proxies"):
        lost.devices()


@pytest.mark.parametrize("status", [502, 504])
def test_what_a_proxy_had_no_answer_to_is_asked_again_unless_that_could_do_it_twice(client: Client, status: int) -> None:
    with something_else(status, b"") as other, at(client, other, attempts=2) as lost:
        with pytest.raises(Unavailable):
            lost.devices()
        asked_to_read = other.asked
        with pytest.raises(Unavailable):
            list(lost.stream_draft(uuid4()))

    assert (asked_to_read, other.asked) == (2, 3)


@pytest.mark.parametrize("body", [b"<h1>Hello</h1>", b"[]", b'{"devices": [{"id": 1}]}', b"\xff"])
def test_an_answer_that_cannot_be_read_is_told(client: Client, body: bytes) -> None:
    with something_else(200, body) as other, at(client, other) as lost, pytest.raises(UnexpectedAnswer, match="/api/devices"):
        lost.devices()


def test_a_redirect_is_not_followed_with_the_token(client: Client) -> None:
    headers = {"Location": f"{client.url}/api/devices"}
    with something_else(302, b"", headers) as other, at(client, other) as lost, pytest.raises(Refused, match="302"):
        lost.devices()


def test_an_event_of_a_newer_gateway_is_handed_on_as_it_is() -> None:
    event = msgspec.json.decode(b'{"id":"1-0","type":"moon:risen","at":"2026-03-06T12:00:00Z","data":{"full":true}}', type=Event)

    assert event.body() == {"full": True}
