"""Adapters in the real engine: each answers as its own, bad ones harm nobody, and none is lost.

The adapters are made so that each says one word, whatever it is asked.
"""

import pickle
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import numpy
import pytest

from shared.adapter_store.manifest import CONFIG, WEIGHTS
from tests.fixtures.loras import BASE, WordLoras, random_tensors, write_lora
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.training import STYLE, Trained, style_samples
from tests.fixtures.waiting import ENGINE_SECONDS, eventually
from tests.ml_service.adapters.conftest import plant, publish

WORDS = ("apple", "river", "seven", "music", "green", "paper", "horse", "winter")
"""As many as the engine holds, and twice as many as go into one batch."""
ONE_MORE = ("garden", "bread")


@pytest.fixture(scope="module")
def client(model_service: MlServiceProcess) -> Iterator[httpx.Client]:
    with model_service.client() as client:
        yield client


@pytest.fixture(scope="module")
def accounts(adapter_store: Path, word_loras: WordLoras, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An account for each word, with one adapter `v1` that says it; account by word."""
    folder = tmp_path_factory.mktemp("words")
    accounts = {word: f"{word}-{uuid4().hex}" for word in (*WORDS, *ONE_MORE)}
    for word, scope in accounts.items():
        publish(adapter_store, word_loras.write(folder / word, word), scope, "v1")
    return accounts


def ask(client: httpx.Client, scope: str, adapter_id: str | None = "v1", **fields: Any) -> httpx.Response:
    """A question that nobody has asked before."""
    body = {"messages": [{"role": "user", "content": f"What about {uuid4().hex[:6]}?"}], "max_tokens": 6, "repeat_penalty": 1.0}
    return client.post("/generate", json={**body, "scope": scope, "adapter_id": adapter_id, **fields})


def says(answer: httpx.Response) -> set[str]:
    """The different words of an answer."""
    assert answer.status_code == 200, answer.text
    return set(answer.json()["response"].split())


def test_many_accounts_in_one_batch_each_get_their_own(client: httpx.Client, accounts: dict[str, str]) -> None:
    asked = [*WORDS, None] * 3  # those who ask for no adapter must be given none, whoever is beside them

    def one(word: str | None) -> set[str]:
        return says(ask(client, accounts[word]) if word is not None else ask(client, "nobody", None))

    with ThreadPoolExecutor(len(asked)) as pool:
        answers = list(pool.map(one, asked))
    for word, answer in zip(asked, answers, strict=True):
        assert answer == {word} if word is not None else answer.isdisjoint(WORDS)


def test_the_version_names_the_adapter_and_the_health_counts_it(client: httpx.Client, accounts: dict[str, str]) -> None:
    answer = ask(client, accounts["apple"]).json()
    assert answer["model_version"] == f"{BASE}+v1"
    assert 1 <= client.get("/health").json()["adapters_loaded"] <= len(WORDS)
    (adapter,) = client.get("/adapters", params={"scope": accounts["apple"]}).json()["adapters"]
    assert (adapter["adapter_id"], adapter["rank"], adapter["status"], adapter["loaded"]) == ("v1", 8, "ready", True)
    assert "ml_adapters_loaded " in client.get("/metrics").text


def test_an_answer_is_cached_for_its_version_only(client: httpx.Client, accounts: dict[str, str]) -> None:
    question: dict[str, Any] = {"prompt": f"Tell me about {uuid4().hex}", "temperature": 0, "cache_key": uuid4().hex, "messages": None}
    first = ask(client, accounts["apple"], **question)
    again = ask(client, accounts["apple"], **question)
    base = ask(client, accounts["apple"], None, **question)
    assert (first.json()["cached"], again.json()["cached"], base.json()["cached"]) == (False, True, False)
    assert says(again) == {"apple"}
    assert "apple" not in says(base)


def test_an_adapter_speaks_in_whatever_format_it_was_trained(client: httpx.Client, adapter_store: Path, trained_job: Trained) -> None:
    """It was trained in float32; the engine computes in what this processor is fast with."""
    assert trained_job.spec.cpu_number_format == "float32"
    scope = f"format-{uuid4().hex}"
    publish(adapter_store, trained_job.adapter, scope, "v1")

    turns = [asdict(turn) for turn in (style_samples()[-1].messages or [])]
    answer = ask(client, scope, messages=turns, max_tokens=24, temperature=0)

    assert answer.json()["response"].strip().endswith(STYLE)


def test_nobody_gets_anothers_adapter(client: httpx.Client, accounts: dict[str, str], adapter_store: Path, word_loras: WordLoras) -> None:
    publish(adapter_store, word_loras.write(adapter_store.parent / "stone", "stone"), accounts["apple"], "mine")
    assert says(ask(client, accounts["apple"], "mine")) == {"stone"}
    refused = ask(client, accounts["river"], "mine")
    assert refused.status_code == 404
    assert ask(client, accounts["river"], f"../{accounts['apple']}/mine").status_code == 404


def test_more_accounts_than_places_take_turns(client: httpx.Client, accounts: dict[str, str]) -> None:
    everyone = [*WORDS, *ONE_MORE] * 2

    def one(word: str) -> set[str]:
        while (answer := ask(client, accounts[word])).status_code == 503:  # on a slow machine no place is free for half a minute
            time.sleep(int(answer.headers["Retry-After"]))
        return says(answer)

    with ThreadPoolExecutor(len(everyone)) as pool:
        answers = list(pool.map(one, everyone))
    assert answers == [{word} for word in everyone]
    assert client.get("/health").json()["adapters_loaded"] <= len(WORDS)


def test_the_openai_api_speaks_for_the_base_model(client: httpx.Client, accounts: dict[str, str]) -> None:
    body = {"model": BASE, "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 4}
    assert client.post("/v1/chat/completions", json=body).status_code == 200
    assert client.post("/v1/chat/completions", json={**body, "model": f"{accounts['apple']}/v1"}).status_code == 404


@contextmanager
def drafting(client: httpx.Client, scope: str, word: str) -> Iterator[Callable[[], int]]:
    """Someone else drafts all the while, and every answer is theirs; gives the number of answers so far."""
    answers: list[httpx.Response] = []
    stop = threading.Event()

    def draft() -> None:
        while not stop.is_set():
            answers.append(ask(client, scope, max_tokens=16))

    thread = threading.Thread(target=draft)
    thread.start()
    try:
        yield lambda: len(answers)
        before = len(answers)
        eventually(lambda: len(answers) >= before + 2, ENGINE_SECONDS)
    finally:
        stop.set()
        thread.join()
    assert len(answers) > before
    assert all(says(answer) == {word} for answer in answers)


def truncated(folder: Path) -> None:
    weights = folder / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1000])


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps({"a": 1}))


def linked(folder: Path) -> None:
    shutil.move(folder / WEIGHTS, folder.parent.parent.parent / f"outside-{uuid4().hex}")
    (folder / WEIGHTS).symlink_to("/etc/passwd")


def vanished(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / CONFIG).unlink()


def not_a_number() -> dict[str, Any]:
    return {name: numpy.full_like(tensor, numpy.nan) for name, tensor in random_tensors().items()}


def of_another_shape() -> dict[str, Any]:
    sides = {"A": (8, 3072), "B": (3072, 8)}
    other = {f"base_model.model.model.layers.0.self_attn.q_proj.lora_{side}.weight": shape for side, shape in sides.items()}
    return {**random_tensors(), **{name: numpy.zeros(shape, numpy.float32) for name, shape in other.items()}}


HOSTILE: dict[str, tuple[Callable[[], dict[str, Any]], dict[str, Any], Callable[[Path], None] | None]] = {
    "truncated": (random_tensors, {}, truncated),
    "a pickle": (random_tensors, {}, pickled),
    "a link out of its folder": (random_tensors, {}, linked),
    "vanished": (random_tensors, {}, vanished),
    "rank too high": (lambda: random_tensors(32), {"r": 32}, None),
    "rank other than it says": (lambda: random_tensors(4), {}, None),
    "of another base": (of_another_shape, {}, None),
    "not a number": (not_a_number, {}, None),
    "a pattern that hangs": (random_tensors, {"rank_pattern": {"(a+)+$": 8}}, None),
    "weights of the model itself": (random_tensors, {"modules_to_save": ["lm_head"]}, None),
}


def test_bad_adapters_are_refused_while_others_are_served(
    client: httpx.Client, accounts: dict[str, str], adapter_store: Path, tmp_path: Path
) -> None:
    scopes: dict[str, str] = {}
    for number, (kind, (make, config, damage)) in enumerate(HOSTILE.items()):
        scopes[kind] = f"bad-{uuid4().hex}"
        folder = plant(adapter_store, write_lora(tmp_path / str(number), make(), **config), scopes[kind], "v1")
        if damage is not None:
            damage(folder)

    with drafting(client, accounts["apple"], "apple"):
        refusals = {kind: [ask(client, scope) for _ in range(2)] for kind, scope in scopes.items()}
        fallbacks = {kind: ask(client, scope, adapter_fallback="base", max_tokens=1) for kind, scope in scopes.items()}

    for kind in HOSTILE:
        for answer in refusals[kind]:
            assert answer.status_code == 409, kind
            assert answer.json()["message"].startswith("The adapter"), kind
            assert str(adapter_store) not in answer.text, kind
        assert fallbacks[kind].status_code == 200, kind
        assert fallbacks[kind].json()["model_version"] == BASE, kind


def test_an_adapter_for_another_model_waits_for_it(
    client: httpx.Client, accounts: dict[str, str], adapter_store: Path, tmp_path: Path
) -> None:
    scope = f"other-{uuid4().hex}"
    plant(adapter_store, write_lora(tmp_path / "other"), scope, "v1", base_model="ministral-3b-instruct")
    with drafting(client, accounts["apple"], "apple"):
        refused = ask(client, scope)
    assert refused.status_code == 409
    assert "made for ministral-3b-instruct" in refused.json()["message"]
    (listed,) = client.get("/adapters", params={"scope": scope}).json()["adapters"]
    assert (listed["status"], listed["loaded"]) == ("set_aside", False)


def test_one_that_is_deleted_while_it_writes_finishes_and_is_gone(
    client: httpx.Client, adapter_store: Path, word_loras: WordLoras, tmp_path: Path
) -> None:
    scope = f"leaving-{uuid4().hex}"
    publish(adapter_store, word_loras.write(tmp_path / "window", "window"), scope, "v1")
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: ask(client, scope, max_tokens=60))
        eventually(lambda: any(each["loaded"] for each in client.get("/adapters", params={"scope": scope}).json()["adapters"]))
        assert client.post("/forget", json={"scope": scope, "extent": "everything"}).json() == {"complete": True}
        assert says(writing.result()) == {"window"}
    assert ask(client, scope).status_code == 404
    eventually(lambda: not (adapter_store / scope).exists())
    assert client.delete("/adapters/v1", params={"scope": scope}).status_code == 404


def test_asleep_it_lets_requests_wait_and_keeps_its_adapters(client: httpx.Client, accounts: dict[str, str]) -> None:
    assert says(ask(client, accounts["apple"])) == {"apple"}
    loaded = client.get("/health").json()["adapters_loaded"]
    assert client.post("/model/sleep", json={"seconds": 300}).json()["asleep"]
    health = client.get("/health")
    assert (health.status_code, health.json()["engine"]) == (503, "sleeping")
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, client, accounts[word]) for word in ("apple", "river")]
        time.sleep(0.5)
        assert not any(each.done() for each in waiting)
        assert not client.post("/model/wake").json()["asleep"]
        assert [says(each.result()) for each in waiting] == [{"apple"}, {"river"}]
    assert client.get("/health").json()["adapters_loaded"] >= loaded - 1


def test_a_killed_engine_gets_its_adapters_back(model_service: MlServiceProcess, client: httpx.Client, accounts: dict[str, str]) -> None:
    """The last one: it takes a new engine."""
    model_service.kill_engine()
    eventually(lambda: model_service.health_status() != 200)
    assert client.get("/health").json()["adapters_loaded"] == 0
    model_service.wait_ready()
    assert says(ask(client, accounts["river"])) == {"river"}
    assert client.get("/health").json()["adapters_loaded"] == 1
