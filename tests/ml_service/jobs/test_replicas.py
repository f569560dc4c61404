"""What a worker makes of answers, also of those that no replica should give."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import msgspec
import pytest
from aiohttp import web

from ml_service.jobs.replicas import GenerationBroke, GenerationError, ModelAway, Replicas, RequestRefused
from shared.contracts.generation import Candidate, GenerateRequest, GenerateResponse, TokenEvent
from shared.replicas import by_preference
from tests.fixtures.ports import free_port

pytestmark = pytest.mark.anyio

ANSWER = GenerateResponse(
    response="Good\n\nday",
    confidence=0.5,
    model_version="m",
    tokens_used=2,
    cached=False,
    finish_reason="stop",
    candidates=[Candidate(text="Good\n\nday", confidence=0.5, tokens_used=2, finish_reason="stop")],
)
TOKEN = b'event: token\ndata: {"text":"Good","index":0}\n\n'
COMPLETED = b"event: completed\ndata: " + msgspec.json.encode(ANSWER) + b"\n\n"
REQUEST = GenerateRequest(prompt="Hello", scope="anna", stream=True)

Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers that give one answer each, in the pieces given; returns where."""
    runners: list[web.AppRunner] = []

    async def start(*pieces: bytes, status: int = 200) -> str:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(status=status)
            await response.prepare(request)
            for piece in pieces:
                await response.write(piece)
            return response

        app = web.Application()
        app.router.add_post("/generate", answer)
        runner = web.AppRunner(app)
        runners.append(runner)
        await runner.setup()
        port = free_port()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return f"http://127.0.0.1:{port}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def read(seen: list[TokenEvent | GenerateResponse], *urls: str, stall_seconds: float = 5) -> None:
    replicas = Replicas(urls, "", stall_seconds)
    try:
        async for piece in replicas.generate(REQUEST):
            seen.append(piece)  # noqa: PERF401 - what was seen before an error counts
    finally:
        await replicas.close()


async def pieces_from(*urls: str) -> list[TokenEvent | GenerateResponse]:
    seen: list[TokenEvent | GenerateResponse] = []
    await read(seen, *urls)
    return seen


def failed(status: int) -> bytes:
    return b'event: failed\ndata: {"statusCode":%d,"message":"It broke","error":"x"}\n\n' % status


@pytest.mark.parametrize("cut", [1, 7, 20, 46, 47, 48, 60])
async def test_events_may_be_cut_anywhere(serve: Serve, cut: int) -> None:
    whole = TOKEN + COMPLETED
    assert await pieces_from(await serve(whole[:cut], whole[cut:])) == [TokenEvent(text="Good", index=0), ANSWER]


@pytest.mark.parametrize(
    ("pieces", "status", "error"),
    [
        ([b'{"statusCode":400,"message":"prompt: too long","error":"x"}'], 400, RequestRefused),
        ([b'{"statusCode":404,"message":"No adapter","error":"x"}'], 404, RequestRefused),
        ([b'{"statusCode":401,"message":"Wrong token","error":"x"}'], 401, ModelAway),
        ([b'{"statusCode":503,"message":"Queue full","error":"x"}'], 503, ModelAway),
        ([b"<html>a proxy's page</html>"], 502, ModelAway),
        ([b"nothing that anyone knows"], 500, GenerationBroke),
        ([TOKEN, failed(503)], 200, ModelAway),
        ([TOKEN, failed(500)], 200, GenerationBroke),
        ([TOKEN], 200, ModelAway),
        ([TOKEN, COMPLETED[:40]], 200, ModelAway),
        ([], 200, ModelAway),
        ([b'event: completed\ndata: {"no":"answer"}\n\n'], 200, GenerationBroke),
    ],
)
async def test_each_failure_says_whether_another_try_makes_sense(
    serve: Serve, pieces: list[bytes], status: int, error: type[GenerationError]
) -> None:
    with pytest.raises(error):
        await pieces_from(await serve(*pieces, status=status))


async def test_a_replica_that_is_away_is_replaced_by_the_next(serve: Serve) -> None:
    good = await serve(COMPLETED)
    busy = await serve(b'{"statusCode":503,"message":"Queue full","error":"x"}', status=503)
    nobody = f"http://127.0.0.1:{free_port()}"
    assert await pieces_from(nobody, busy, good) == [ANSWER]


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="no HTTP"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnot a length\r\n", id="a body that cannot be read"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"X-Long: " + b"a" * 100_000 + b"\r\n\r\n", id="a header without an end"),
        pytest.param(b"", id="nothing"),
    ],
)
async def test_whoever_speaks_no_http_is_away(answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(speak, "127.0.0.1", free_port())
    async with server:
        host, port = server.sockets[0].getsockname()
        with pytest.raises(ModelAway):
            await pieces_from(f"http://{host}:{port}")


async def test_nobody_sees_two_beginnings(serve: Serve) -> None:
    urls = [await serve(TOKEN), await serve(TOKEN)]
    seen: list[TokenEvent | GenerateResponse] = []
    with pytest.raises(ModelAway):
        await read(seen, *urls)
    assert seen == [TokenEvent(text="Good", index=0)]


async def test_a_silent_replica_is_given_up() -> None:
    async def never(_request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    app = web.Application()
    app.router.add_post("/generate", never)
    runner = web.AppRunner(app, shutdown_timeout=0)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    with pytest.raises(ModelAway):
        await read([], f"http://127.0.0.1:{port}", stall_seconds=0.2)
    await runner.cleanup()


def test_when_a_replica_leaves_only_its_scopes_move() -> None:
    urls = [f"http://replica-{number}" for number in range(4)]
    scopes = [f"account-{number}" for number in range(400)]
    before = {scope: by_preference(scope, urls)[0] for scope in scopes}
    after = {scope: by_preference(scope, urls[1:])[0] for scope in scopes}
    assert all(after[scope] == before[scope] for scope in scopes if before[scope] != urls[0])
    assert 60 < sum(before[scope] == urls[0] for scope in scopes) < 140
