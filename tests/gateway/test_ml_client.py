"""The client of the ML service: against the real service, and against a server that answers what no service should."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from uuid import uuid4

import pytest
import structlog

from gateway.ml_client import MlClient
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent, Turn
from shared.contracts.jobs import AsyncGenerateRequest
from shared.contracts.service import ForgetRequest
from shared.errors import AppError, BadRequest, Unavailable
from shared.replicas import by_preference
from tests.fixtures.ports import free_port
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import eventually

pytestmark = pytest.mark.anyio

REQUEST = GenerateRequest(messages=[Turn(role="user", content="Dinner on Friday?")])
SECRET = "/home/service/model.py line 7"
NOT_JSON = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n<>"
TOKEN = b'event: token\ndata: {"text":"Sounds","index":0}\n\n'
COMPLETED = (
    b'event: completed\ndata: {"response":"Sounds","confidence":0.5,"model_version":"m","tokens_used":1,"cached":false,'
    b'"finish_reason":"stop","candidates":[{"text":"Sounds","confidence":0.5,"tokens_used":1,"finish_reason":"stop"}]}\n\n'
)
Call = Callable[[MlClient], Awaitable[object]]


async def generate(ml: MlClient) -> GenerateResponse:
    return await ml.generate(REQUEST)


async def stream(ml: MlClient) -> list[TokenEvent | GenerateResponse]:
    return [event async for event in ml.stream(REQUEST)]


async def forget(ml: MlClient) -> bool:
    return await ml.forget(ForgetRequest(scope=str(uuid4())))


CALLS = pytest.mark.parametrize("call", [generate, stream, forget])


def refusal(status: int, fields: list[str] | None = None, headers: str = "") -> bytes:
    details = ",".join(f'{{"field":"{field}","message":"{SECRET}"}}' for field in fields or [])
    body = f'{{"statusCode":{status},"message":"{SECRET}","error":"Error","details":[{details}]}}'
    return f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{headers}content-length: {len(body)}\r\n\r\n{body}".encode()


def events(*parts: bytes) -> bytes:
    """A stream that ends when its connection does."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + b"".join(parts)


@asynccontextmanager
async def client_of(answer: bytes, timeout_seconds: float = 5, *, hang_up: bool = True) -> AsyncIterator[MlClient]:
    """A client of a server that gives this one answer to everything."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in range(0, len(answer), 7):  # in small pieces, as a network may
            writer.write(answer[byte : byte + 7])
            await writer.drain()
        if not hang_up:
            await reader.read()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    ml = MlClient([f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"], "", timeout_seconds)
    try:
        yield ml
    finally:
        await ml.close()
        server.close()


@asynccontextmanager
async def client_at(url: str) -> AsyncIterator[MlClient]:
    ml = MlClient([url], "", 5)
    try:
        yield ml
    finally:
        await ml.close()


async def test_generates(ml_service: ScriptedMlService) -> None:
    async with client_at(ml_service.url) as ml:
        answer = await ml.generate(REQUEST)

    assert (answer.tokens_used, answer.finish_reason) == (14, "stop")


async def test_streams(ml_service: ScriptedMlService) -> None:
    async with client_at(ml_service.url) as ml:
        *tokens, answer = await stream(ml)

    assert isinstance(answer, GenerateResponse)
    assert "".join(token.text for token in tokens if isinstance(token, TokenEvent)) == answer.response


async def test_leaving_a_stream_aborts_it(ml_service: ScriptedMlService) -> None:
    aborted = await asyncio.to_thread(ml_service.aborted_before)
    await asyncio.to_thread(ml_service.pace, 0.05)
    async with client_at(ml_service.url) as ml, aclosing(ml.stream(GenerateRequest(prompt=uuid4().hex))) as events:
        assert isinstance(await anext(events), TokenEvent)
    await asyncio.to_thread(eventually, lambda: ml_service.aborted == aborted + 1)
    await asyncio.to_thread(ml_service.pace, 0)


async def test_has_one_accounts_cached_drafts_forgotten(ml_service: ScriptedMlService) -> None:
    mine, other = uuid4(), uuid4()
    async with client_at(ml_service.url) as ml:
        for account_id in (mine, other):
            await ml.generate(GenerateRequest(prompt="Hello", scope=str(account_id)))

        assert await ml.forget(ForgetRequest(scope=str(mine)))
        assert not (await ml.generate(GenerateRequest(prompt="Hello", scope=str(mine)))).cached
        assert (await ml.generate(GenerateRequest(prompt="Hello", scope=str(other)))).cached


async def test_passes_the_request_id_on(ml_service: ScriptedMlService) -> None:
    request_id = uuid4().hex
    async with client_at(ml_service.url) as ml:
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await ml.generate(REQUEST)

    await asyncio.to_thread(ml_service.log_with, request_id)


async def test_knows_whether_the_service_is_ready(ml_service: ScriptedMlService) -> None:
    async with client_at(ml_service.url) as ml:
        assert await ml.is_ready()
    async with client_at(f"http://127.0.0.1:{free_port()}") as ml:
        assert not await ml.is_ready()


@CALLS
async def test_a_service_that_is_not_there(call: Call) -> None:
    async with client_at(f"http://127.0.0.1:{free_port()}") as ml:
        with pytest.raises(Unavailable) as caught:
            await call(ml)

    assert caught.value.retry_after


@CALLS
@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(b"", id="hangs up"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", id="hangs up in the middle"),
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n\r\n", id="no HTTP"),
        pytest.param(NOT_JSON, id="no JSON"),
        pytest.param(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", id="other JSON"),
        pytest.param(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n", id="a redirection"),
        pytest.param(b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 2\r\n\r\n<>", id="a proxy's error"),
        *[pytest.param(refusal(status), id=str(status)) for status in (400, 401, 404, 413, 500, 503)],
    ],
)
async def test_whatever_else_it_answers_is_unavailable(call: Call, answer: bytes) -> None:
    async with client_of(answer) as ml:
        with pytest.raises(AppError) as caught:
            await call(ml)

    assert isinstance(caught.value, Unavailable)
    assert SECRET not in caught.value.message


@pytest.mark.parametrize("call", [generate, stream])
async def test_a_service_that_does_not_answer_in_time(call: Call) -> None:
    async with client_of(events(TOKEN), timeout_seconds=0.2, hang_up=False) as ml:
        with pytest.raises(Unavailable, match="too long"):
            await call(ml)


@pytest.mark.parametrize(("sent", "passed_on"), [("retry-after: 17\r\n", 17), ("retry-after: soon\r\n", 5), ("", 5)])
async def test_retry_after_is_passed_on(sent: str, passed_on: int) -> None:
    async with client_of(refusal(503, headers=sent)) as ml:
        with pytest.raises(Unavailable) as caught:
            await generate(ml)

    assert caught.value.retry_after == passed_on


@pytest.mark.parametrize(("theirs", "ours"), [("messages", "messageId"), ("max_tokens", "context.maxTokens")])
async def test_a_prompt_that_is_too_long_is_the_clients_matter(theirs: str, ours: str) -> None:
    async with client_of(refusal(400, [theirs])) as ml:
        with pytest.raises(BadRequest) as caught:
            await generate(ml)

    assert [problem.field for problem in caught.value.details] == [ours]
    assert SECRET not in caught.value.message


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param((TOKEN,), id="after a token"),
        pytest.param((), id="at once"),
        pytest.param((TOKEN, COMPLETED[:-2]), id="in the middle of the last event"),
        pytest.param((TOKEN, b'event: failed\ndata: {"statusCode":503,"message":"x","error":"y"}\n\n'), id="with its own failure"),
        pytest.param((TOKEN, b"event: completed\ndata: nonsense\n\n"), id="with nonsense"),
    ],
)
async def test_a_stream_that_ends_without_an_answer_is_a_failure(parts: tuple[bytes, ...]) -> None:
    async with client_of(events(*parts)) as ml:
        with pytest.raises(Unavailable):
            await stream(ml)


async def test_a_stream_may_have_comments_unknown_events_and_other_line_ends() -> None:
    parts = [b": still here\n\n", b"event: ping\ndata: {}\n\n", TOKEN.replace(b"\n", b"\r\n"), COMPLETED.replace(b": ", b":")]
    async with client_of(events(*parts)) as ml:
        token, answer = await stream(ml)

    assert (token, isinstance(answer, GenerateResponse)) == (TokenEvent(text="Sounds"), True)


JOB_ID = uuid4()
JOB = AsyncGenerateRequest(messages=REQUEST.messages, job_id=str(JOB_ID))


@pytest.mark.parametrize("status", [404, 409])
async def test_a_job_that_is_over_is_cancelled(status: int) -> None:
    async with client_of(refusal(status)) as ml:
        await ml.cancel_job(JOB_ID)


async def test_a_job_that_is_known_is_accepted() -> None:
    async with client_of(refusal(409)) as ml:
        await ml.enqueue(JOB)


async def test_an_unknown_job_has_no_state() -> None:
    async with client_of(refusal(404)) as ml:
        assert await ml.job_state(JOB_ID) is None


@pytest.mark.parametrize(
    "ask",
    [lambda ml: ml.enqueue(JOB), lambda ml: ml.job_state(JOB_ID), lambda ml: ml.cancel_job(JOB_ID)],
    ids=["enqueue", "state", "cancel"],
)
async def test_a_queue_that_is_full_or_away_says_when_to_come_back(ask: Call) -> None:
    async with client_of(refusal(503, headers="retry-after: 10\r\n")) as ml:
        with pytest.raises(Unavailable) as refused:
            await ask(ml)
    assert refused.value.retry_after == 10


async def test_a_state_that_cannot_be_read_is_unavailable() -> None:
    async with client_of(NOT_JSON) as ml:
        with pytest.raises(Unavailable):
            await ml.job_state(JOB_ID)


class Replica:
    """A server that gives one answer to everything, and counts how often it was asked; None hangs up without a word."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.asked = 0

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        writer.write(self.answer or b"")
        await writer.drain()
        writer.close()

    def stop(self) -> None:
        self._server.close()


@asynccontextmanager
async def client_of_two(answer: bytes, first: bytes | None) -> AsyncIterator[tuple[MlClient, Replica, Replica]]:
    """A client of two replicas: the one that the account of `REQUEST` prefers, which answers `first`, and another."""
    replicas = {await replica.start(): replica for replica in (Replica(answer), Replica(answer))}
    own, other = (replicas[url] for url in by_preference(REQUEST.scope, list(replicas)))
    own.answer = first
    ml = MlClient(list(replicas), "", 5)
    try:
        yield ml, own, other
    finally:
        await ml.close()
        for replica in replicas.values():
            replica.stop()


@pytest.mark.parametrize("call", [generate, stream])
@pytest.mark.parametrize("first", [None, refusal(503, headers="retry-after: 1\r\n"), refusal(502)], ids=["dead", "busy", "behind a proxy"])
async def test_what_one_replica_cannot_do_another_does(call: Call, first: bytes | None) -> None:
    answer = events(TOKEN, COMPLETED) if call is stream else whole(COMPLETED)
    async with client_of_two(answer, first) as (ml, own, other):
        await call(ml)
        assert (own.asked, other.asked) == (1, 1)


async def test_a_dead_replica_is_out_of_rotation_at_once_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.replicas.AWAY_SECONDS", 0.2)
    async with client_of_two(whole(COMPLETED), None) as (ml, own, other):
        for _ in range(5):
            await generate(ml)
        assert (own.asked, other.asked) == (1, 5)
        own.answer = whole(COMPLETED)
        await asyncio.sleep(0.3)
        await generate(ml)
        assert (own.asked, other.asked) == (2, 5)


async def test_an_account_keeps_to_its_replica() -> None:
    async with client_of_two(whole(COMPLETED), whole(COMPLETED)) as (ml, own, other):
        for _ in range(5):
            await generate(ml)
        assert (own.asked, other.asked) == (5, 0)


async def test_half_a_stream_is_not_begun_anew_elsewhere() -> None:
    async with client_of_two(events(TOKEN, COMPLETED), events(TOKEN)) as (ml, own, other):
        with pytest.raises(Unavailable):
            await stream(ml)
        assert (own.asked, other.asked) == (1, 0)


async def test_what_no_replica_can_do_is_refused_as_by_one() -> None:
    busy = refusal(503, headers="retry-after: 7\r\n")
    async with client_of_two(busy, busy) as (ml, own, other):
        with pytest.raises(Unavailable) as refused:
            await generate(ml)
        assert refused.value.retry_after == 7
        assert (own.asked, other.asked) == (1, 1)


def whole(completed: bytes) -> bytes:
    """The whole answer instead of its stream."""
    body = completed.removeprefix(b"event: completed\ndata: ").strip()
    return b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
