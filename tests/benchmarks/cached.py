"""A cached answer: from Redis itself, from the ML service, and through the gateway, one at a time."""

import statistics
import time
from collections.abc import Callable

import httpx
from redis import Redis

from tests.benchmarks.measure import Measurement
from tests.benchmarks.system import BenchmarkSystem

_CALLS = 200


def measure(system: BenchmarkSystem, rounds: int) -> list[Measurement]:
    """Median milliseconds a call; there is no goal, the figures say what each layer costs."""
    prompt = {"prompt": "Them: How are you?\nMe:", "max_tokens": 16, "seed": 1, "scope": "benchmark"}
    draft = {"messageId": system.incoming_messages[0], "context": {"maxTokens": 16}}
    with (
        Redis.from_url(system.redis_url) as redis,
        system.ml_service.client() as ml,
        httpx.Client(base_url=system.gateway.url, headers={"Authorization": f"Bearer {system.device.token}"}, timeout=120) as gateway,
    ):
        for _ in range(2):
            assert ml.post("/generate", json=prompt).status_code == 200
            assert gateway.post("/api/responses/generate", json=draft).status_code == 200
        assert gateway.post("/api/responses/generate", json=draft).json()["cached"]
        redis.set("benchmark", b"x" * 300)
        raw: list[float] = []
        sides: dict[str, tuple[Callable[[], object], list[float]]] = {
            "cached answer from the ML service": (lambda: ml.post("/generate", json=prompt), []),
            "cached draft through the gateway, row stored": (lambda: gateway.post("/api/responses/generate", json=draft), []),
        }
        for _ in range(rounds):
            raw.append(_median_milliseconds(lambda: redis.get("benchmark")))
            for call, values in sides.values():
                values.append(_median_milliseconds(call))
    return [Measurement(what=name, unit="ms", ours=values, against="a raw Redis GET", theirs=raw) for name, (_, values) in sides.items()]


def _median_milliseconds(call: Callable[[], object]) -> float:
    seconds = []
    for _ in range(_CALLS):
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds) * 1000
