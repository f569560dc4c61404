import asyncio
import json
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from typing import Any
from uuid import uuid4

import pytest

from ml_service.engine.protocol import Adapter, Delta, Sampling
from ml_service.engine.scripted_engine import WORDS, ScriptedEngine, ScriptedRenderer
from ml_service.models.fitting import CHARACTERS_PER_TOKEN
from shared.contracts.generation import Turn
from tests.fixtures.ml_service import TOKEN
from tests.fixtures.waiting import PATIENCE_SECONDS, until
from tests.ml_service.conftest import InProcess, running, scripted_settings

pytestmark = pytest.mark.anyio

TEXT = "".join(WORDS)
DOCUMENTED = {
    "prompt": "Them: How are you?\nMe:",
    "max_tokens": 256,
    "temperature": 0.7,
    "top_p": 0.9,
    "repeat_penalty": 1.1,
    "stop": ["\nThem:", "\nMe:"],
    "cache_key": "optional-custom-key",
}


def fresh(**fields: Any) -> dict[str, Any]:
    """A request that nobody has made before."""
    return {"prompt": uuid4().hex, **fields}


def events(text: str) -> list[tuple[str, Any]]:
    """The events of a stream: name and data."""
    pairs = [block.split("\n", 1) for block in text.strip().split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in pairs]


async def test_the_documented_request_gets_the_documented_answer(service: InProcess) -> None:
    await service.client.delete("/cache")
    answer = (await service.client.post("/generate", json=DOCUMENTED)).json()
    assert answer == {
        "response": TEXT,
        "confidence": 0.5,
        "model_version": "smollm2-135m-instruct",
        "tokens_used": 14,
        "cached": False,
        "finish_reason": "stop",
        "candidates": [{"text": TEXT, "confidence": 0.5, "tokens_used": 14, "finish_reason": "stop"}],
        "dropped_messages": 0,
    }


async def test_the_engine_is_told_whose_prompt_it_is(service: InProcess) -> None:
    for scope in ("one", "another"):
        await service.client.post("/generate", json=fresh(scope=scope))
        assert service.engine.last_scope == scope


async def test_a_stream_is_tokens_and_then_the_whole_answer(service: InProcess) -> None:
    streamed = events((await service.client.post("/generate", json=fresh(stream=True, n=2))).text)
    names = [name for name, _ in streamed]
    assert names == ["token"] * 28 + ["completed"]
    for index, candidate in enumerate(streamed[-1][1]["candidates"]):
        assert "".join(data["text"] for name, data in streamed if name == "token" and data["index"] == index) == candidate["text"]


async def test_an_answer_ends_before_a_stop_text_and_at_max_tokens(service: InProcess) -> None:
    stopped = (await service.client.post("/generate", json=fresh(stop=[", see"]))).json()
    assert (stopped["response"], stopped["finish_reason"]) == ("Sounds good", "stop")
    cut = (await service.client.post("/generate", json=fresh(max_tokens=2))).json()
    assert (cut["response"], cut["finish_reason"], cut["tokens_used"]) == ("Sounds good", "length", 2)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_second_answer_comes_from_the_cache(service: InProcess, stream: bool) -> None:
    request = fresh(n=2)
    first = (await service.client.post("/generate", json=request)).json()
    generations = service.engine.generations

    second = await service.client.post("/generate", json={**request, "stream": stream})

    answer = events(second.text)[-1][1] if stream else second.json()
    assert answer == {**first, "cached": True}
    assert service.engine.generations == generations


async def test_answers_are_never_shared_between_scopes(service: InProcess) -> None:
    request = fresh(cache_key="mine")
    await service.client.post("/generate", json={**request, "scope": "one"})
    assert not (await service.client.post("/generate", json={**request, "scope": "two"})).json()["cached"]


async def test_a_named_answer_is_found_by_its_name(service: InProcess) -> None:
    name = uuid4().hex
    await service.client.post("/generate", json=fresh(cache_key=name))
    assert (await service.client.post("/generate", json=fresh(cache_key=name))).json()["cached"]


async def test_the_cache_can_be_passed_by(service: InProcess) -> None:
    request = fresh(use_cache=False)
    for _ in range(2):
        assert not (await service.client.post("/generate", json=request)).json()["cached"]
    assert (await service.client.post("/generate", json={**request, "use_cache": True})).json()["cached"]


async def test_one_scopes_answers_can_be_forgotten(service: InProcess) -> None:
    scope, request = uuid4().hex, fresh()
    await service.client.post("/generate", json={**request, "scope": scope})
    dropped = await service.client.delete("/cache", params={"pattern": f"{scope}:*"})
    assert dropped.json() == {"invalidated": 1}
    assert not (await service.client.post("/generate", json={**request, "scope": scope})).json()["cached"]


async def test_identical_requests_at_once_cost_one_generation(service: InProcess) -> None:
    service.engine.token_seconds = 0.05
    request, before = fresh(), service.engine.generations
    answers = await asyncio.gather(*(service.client.post("/generate", json={**request, "stream": index % 2 == 0}) for index in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert service.engine.generations == before + 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "a"}]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "robot", "content": "b"}]}, "messages[1].role"),
        ({"messages": [{"role": "user", "content": "a"}] * 3 + [{"role": "user"}]}, "messages[3].content"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 2049}, "max_tokens"),
        ({"prompt": "a", "temperature": 2.1}, "temperature"),
        ({"prompt": "a", "temperature": "hot"}, "temperature"),
        ({"prompt": "a", "top_p": 0}, "top_p"),
        ({"prompt": "a", "repeat_penalty": 0.4}, "repeat_penalty"),
        ({"prompt": "a", "stop": ["x"] * 9}, "stop"),
        ({"prompt": "a", "stop": [""]}, "stop[0]"),
        ({"prompt": "a", "n": 5}, "n"),
        ({"prompt": "a", "seed": -1}, "seed"),
        ({"prompt": "\ud800"}, "prompt"),
        ({"prompt": "a" * 9000}, "prompt"),
        ({"prompt": "a", "overflow": "drop_newest"}, "overflow"),
        ({"prompt": "a", "scope": ""}, "scope"),
        *(({"prompt": "a", "scope": scope}, "scope") for scope in ("a:b", "*", "a?", "[ab]", "a\\", "ü", "a b", "a\n", "../a", "a" * 101)),
    ],
)
async def test_what_is_wrong_is_named(service: InProcess, body: dict[str, Any], field: str) -> None:
    answer = await service.client.post("/generate", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["error"] == "Bad Request"
    assert problem["details"][0]["field"] == field
    assert problem["requestId"] == answer.headers["x-request-id"]


async def test_a_prompt_that_does_not_fit_is_refused_and_says_by_how_much(service: InProcess) -> None:
    answer = await service.client.post("/generate", json=fresh(prompt="a" * 8000, max_tokens=200))
    assert answer.status_code == 400
    assert "8000 tokens, 8 more than the 7992" in answer.json()["message"]


async def test_the_oldest_turns_may_be_dropped(service: InProcess) -> None:
    turns = [{"role": "system", "content": "s"}] + [{"role": "user", "content": "a" * 3000}] * 4
    answer = await service.client.post("/generate", json={"messages": turns, "overflow": "drop_oldest"})
    assert answer.json()["dropped_messages"] == 2


async def test_what_cannot_fit_is_refused_before_it_is_tokenised(service: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedRenderer, "text", not_to_be_called)
    monkeypatch.setattr(ScriptedRenderer, "turns", not_to_be_called)
    turns = [{"role": "user", "content": "a" * 100_000}]

    answers = [await service.client.post("/generate", json=body) for body in (fresh(prompt="a" * 100_000), {"messages": turns})]

    assert [answer.status_code for answer in answers] == [400, 400]
    assert [answer.json()["details"][0]["field"] for answer in answers] == ["prompt", "messages"]


async def test_a_long_history_is_cut_before_it_is_tokenised(service: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    turns = ScriptedRenderer.turns

    def noted(renderer: ScriptedRenderer, given: Sequence[Turn], *, answer_follows: bool = True) -> list[int]:
        seen.append(sum(len(turn.content) for turn in given))
        return turns(renderer, given, answer_follows=answer_follows)

    monkeypatch.setattr(ScriptedRenderer, "turns", noted)
    history = [{"role": "user", "content": str(number % 10) * 40_000} for number in range(100)]

    answer = await service.client.post("/generate", json={"messages": history, "overflow": "drop_oldest"})

    assert answer.json()["dropped_messages"] == 99
    assert max(seen) <= 8192 * CHARACTERS_PER_TOKEN


async def test_of_a_message_that_is_too_long_the_end_is_answered(service: InProcess) -> None:
    turns = [{"role": "system", "content": "s"}, {"role": "user", "content": "a" * 20_000}]
    answer = await service.client.post("/generate", json={"messages": turns, "overflow": "drop_oldest"})
    assert (answer.status_code, answer.json()["dropped_messages"]) == (200, 0)


async def test_all_answers_together_have_so_many_tokens(service: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Sampling] = []
    generate = service.engine.generate

    def noted(prompt: Sequence[int], sampling: Sampling, adapter: Adapter | None = None, **more: Any) -> AsyncGenerator[Delta, None]:
        asked.append(sampling)
        return generate(prompt, sampling, adapter, **more)

    monkeypatch.setattr(service.engine, "generate", noted)
    for n in (1, 2, 3, 4):
        await service.client.post("/generate", json=fresh(n=n, max_tokens=2048))

    assert [sampling.max_tokens for sampling in asked] == [2048, 2048, 1365, 1024]


async def test_one_scope_with_hundreds_of_requests_holds_up_no_other() -> None:
    settings = scripted_settings(max_num_seqs=4, max_queued_requests=250)
    ended: list[str] = []
    async with running(settings) as service:

        async def ask(scope: str) -> int:
            answer = await service.client.post("/generate", json=fresh(scope=scope))
            if answer.status_code == 200:
                ended.append(scope)
            return answer.status_code

        service.engine.stall()
        greedy = [asyncio.create_task(ask("greedy")) for _ in range(256)]
        await until_running(service, 4)
        await until(lambda: sum(task.done() for task in greedy) == 2)  # for these there was no room
        modest = [asyncio.create_task(ask("modest")) for _ in range(3)]
        await until(lambda: sum(task.done() for task in greedy) == 2 + 3)  # three made way
        service.engine.resume()

        assert await asyncio.gather(*modest) == [200] * 3
        assert ended.count("greedy") < 20
        assert Counter(await asyncio.gather(*greedy))[503] == 2 + 3


def not_to_be_called(*_: object, **__: object) -> list[int]:
    raise AssertionError("it was tokenised")


async def test_no_adapter_exists(service: InProcess) -> None:
    answer = await service.client.post("/generate", json=fresh(adapter_id="anybody"))
    assert (answer.status_code, answer.json()["message"]) == (404, "No adapter with this id")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_full_queue_is_503_with_a_time_to_retry(stream: bool) -> None:
    async with running(scripted_settings(), lambda _entry: ScriptedEngine(token_seconds=0.5, capacity=2)) as service:
        busy = [asyncio.create_task(service.client.post("/generate", json=fresh())) for _ in range(2)]
        await until_running(service, 2)
        refused = await service.client.post("/generate", json=fresh(stream=stream))
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        service.engine.token_seconds = 0
        assert {answer.status_code for answer in await asyncio.gather(*busy)} == {200}


@pytest.mark.parametrize("stream", [False, True])
async def test_an_engine_that_dies_ends_the_answer_with_an_error(service: InProcess, stream: bool) -> None:
    service.engine.token_seconds = 0.1
    asking = asyncio.create_task(service.client.post("/generate", json=fresh(stream=stream)))
    await until_running(service, 1)
    await asyncio.sleep(0.15)  # and says something
    service.engine.kill()
    answer = await asking
    if stream:
        name, data = events(answer.text)[-1]
        assert (answer.status_code, name, data["statusCode"]) == (200, "failed", 503)
    else:
        assert answer.status_code == 503


async def test_without_an_engine_it_is_503_at_once(service: InProcess) -> None:
    service.engine.kill()
    answer = await service.client.post("/generate", json=fresh())
    assert answer.status_code == 503
    assert "retry-after" in answer.headers


async def test_without_redis_answers_are_generated() -> None:
    async with running(scripted_settings()) as service:
        for _ in range(2):
            answer = await service.client.post("/generate", json=fresh(prompt="same"))
            assert (answer.status_code, answer.json()["cached"]) == (200, False)
        health = (await service.client.get("/health")).json()
        assert (health["status"], health["redis_connected"]) == ("degraded", False)
        assert (await service.client.delete("/cache")).status_code == 503


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_aborts_the_generation(service: InProcess, stream: bool) -> None:
    service.engine.token_seconds = 0.1
    before = service.engine.aborted
    sent = await leave_once_it_runs(service, fresh(stream=stream))
    assert service.engine.aborted == before + 1
    assert service.engine.running == 0
    assert not any(message.get("more_body") is False for message in sent)


async def until_running(service: InProcess, answers: int) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while service.engine.running != answers:
            await asyncio.sleep(0.01)


async def leave_once_it_runs(service: InProcess, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask as a server would, and disconnect when something is generated; what the app sent is returned."""
    incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    incoming.put_nowait({"type": "http.request", "body": json.dumps(body).encode(), "more_body": False})
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "path": "/generate",
        "raw_path": b"/generate",
        "root_path": "",
        "scheme": "http",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json"), (b"authorization", f"Bearer {TOKEN}".encode())],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
    }
    asking = asyncio.create_task(service.app(scope, incoming.get, send))  # type: ignore[arg-type]
    await until_running(service, 1)
    incoming.put_nowait({"type": "http.disconnect"})
    await asking
    return sent
