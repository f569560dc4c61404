"""What both services do with raw ASGI."""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from shared.asgi import ClientGone, Message, RequestContext, header, header_values, send_error, while_connected
from shared.errors import Unauthorized

pytestmark = pytest.mark.anyio


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> LogCapture:
    captured = LogCapture()
    monkeypatch.setattr("shared.asgi._logger", structlog.wrap_logger(None, processors=[captured]))
    return captured


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers with a status as the frameworks know it."""
    await send({"type": "http.response.start", "status": HTTPStatus.NOT_FOUND, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def failing(scope: Any, receive: Any, send: Any) -> None:
    raise ValueError("secret")


async def left(scope: Any, receive: Any, send: Any) -> None:
    raise ClientGone


def unobserved(_scope: Any, _status: int, _seconds: float) -> None:
    """Measures nothing."""


async def answer_of(app: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        return await client.get("/nothing?secret=1")


async def test_the_log_line_of_a_refused_request_has_the_statuss_number(log: LogCapture) -> None:
    await answer_of(RequestContext(refusing, observe=unobserved))

    assert [repr(entry["status"]) for entry in log.entries if entry["event"] == "request"] == ["404"]


async def test_what_nobody_foresaw_is_a_500_with_the_requests_id(log: LogCapture) -> None:
    answer = await answer_of(RequestContext(failing, observe=unobserved))

    assert answer.status_code == 500
    assert answer.json()["requestId"] == answer.headers["x-request-id"]
    assert "secret" not in answer.text
    assert [entry["status"] for entry in log.entries if entry["event"] == "request"] == [500]


async def test_a_client_that_left_is_logged_as_such(log: LogCapture) -> None:
    sent: list[Any] = []
    seen: list[int] = []
    context = RequestContext(left, observe=lambda _scope, status, _seconds: seen.append(status))

    await context({"type": "http", "method": "GET", "path": "/", "headers": []}, silent, collect(sent))

    assert sent == []
    assert [entry["status"] for entry in log.entries] == seen == [499]


async def test_quiet_paths_are_logged_for_debugging_only(log: LogCapture) -> None:
    await answer_of(RequestContext(refusing, observe=unobserved, quiet_paths={"/nothing"}))

    assert [entry["log_level"] for entry in log.entries] == ["debug"]


async def test_an_error_tells_a_websocket_what_it_would_tell_a_request() -> None:
    opening = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
    over_http: list[Any] = []
    over_socket: list[Any] = []

    await send_error({"type": "http"}, collect(over_http), Unauthorized("no"))
    await send_error(opening, collect(over_socket), Unauthorized("no"))

    assert over_socket == [{**message, "type": f"websocket.{message['type']}"} for message in over_http]
    assert header(over_http[0], b"www-authenticate") == b"Bearer"


async def test_a_server_that_cannot_answer_a_websocket_closes_it() -> None:
    sent: list[Any] = []

    await send_error({"type": "websocket"}, collect(sent), Unauthorized("no"))

    assert sent == [{"type": "websocket.close", "code": 4401, "reason": "no"}]


async def test_headers_are_read_in_their_order() -> None:
    asgi_scope = {"headers": [(b"a", b"1"), (b"b", b"2"), (b"a", b"3")]}

    assert header_values(asgi_scope, b"a") == [b"1", b"3"]
    assert (header(asgi_scope, b"a"), header(asgi_scope, b"c")) == (b"1", None)


class TestWhileConnected:
    @pytest.mark.parametrize("kind", ["http.disconnect", "websocket.disconnect"])
    async def test_a_client_that_disconnects_ends_the_block(self, kind: str) -> None:
        messages = asyncio.Queue[Message]()
        messages.put_nowait({"type": "websocket.receive"})
        messages.put_nowait({"type": kind})
        cleaned_up = asyncio.Event()

        async def work() -> None:
            async with while_connected(messages.get):
                try:
                    await asyncio.Event().wait()
                finally:
                    await asyncio.sleep(0)
                    cleaned_up.set()

        with pytest.raises(ClientGone):
            await work()
        assert cleaned_up.is_set()

    async def test_a_block_that_ends_by_itself_leaves_no_task(self) -> None:
        before = asyncio.all_tasks()

        async with while_connected(silent):
            await asyncio.sleep(0)

        assert asyncio.all_tasks() == before

    async def test_a_timeout_of_the_block_is_its_own(self) -> None:
        with pytest.raises(TimeoutError):
            async with while_connected(silent), asyncio.timeout(0):
                await asyncio.Event().wait()

    async def test_whoever_cancels_from_outside_is_heard(self) -> None:
        async def work() -> None:
            async with while_connected(silent):
                await asyncio.Event().wait()

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()

        with pytest.raises(asyncio.CancelledError):
            await task


async def silent() -> Message:
    """A client that says nothing more."""
    await asyncio.Event().wait()
    raise AssertionError


def collect(sent: list[Any]) -> Callable[[Any], Any]:
    async def send(message: Any) -> None:
        sent.append(message)

    return send
