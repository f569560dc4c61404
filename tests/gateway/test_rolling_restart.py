"""One gateway after the other is stopped and started again behind a load balancer, and nobody notices."""

import asyncio
import json
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest

from tests.factories import NO_TLS, message, paired_device, sync, thread
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.load_balancer import SERVED_BY, LoadBalancer
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import PATIENCE_SECONDS, START_SECONDS, eventually, until

DELAY_SECONDS = 5
"""The load balancer needs 0.6 s to notice, and more where the processor has much else to do."""
TOKEN_SECONDS = 0.2
"""So a draft takes three seconds: some are being written whenever a gateway stops."""


class Traffic:
    """Several clients of one account that never pause for long, and all that went wrong with them."""

    def __init__(self, client: httpx.AsyncClient, message_id: str) -> None:
        self._client = client
        self._message_id = message_id
        self._last_event = "0"
        self.failures: list[str] = []
        self.served_by: Counter[str] = Counter()
        self.sent: set[str] = set()
        self.told: set[str] = set()
        """Ids of the events that told of a sync."""
        self.streams = 0
        """Streams of events that were opened: a gateway that stops ends them."""
        self.drafts = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Until told to stop; then wait until every sync was told."""
        listening = asyncio.create_task(self._repeat(self._listen, asyncio.Event()))
        async with asyncio.TaskGroup() as group:
            for step in (self._sync, self._sync, self._list, self._list, *[self._stream] * 4):
                group.create_task(self._repeat(step, stop))
        await until(lambda: len(self.told) > len(self.sent))  # one more was synced before
        listening.cancel()

    async def _repeat(self, step: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await step()
            except httpx.HTTPError as error:
                self.failures.append(f"{step.__name__}: {error!r}")
            await asyncio.sleep(0.03)

    async def _sync(self) -> None:
        guid = uuid4().hex
        self.sent.add(guid)
        self._look(await self._client.post("/api/sync/messages", json=thread([message(guid)])))

    async def _list(self) -> None:
        self._look(await self._client.get("/api/conversations"))

    async def _stream(self) -> None:
        body = {"messageId": self._message_id}
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
        async with self._client.stream("POST", "/api/responses/generate", json=body, headers=headers) as answer:
            names = [line.removeprefix("event: ") async for line in answer.aiter_lines() if line.startswith("event: ")]
        self._look(answer)
        self.drafts += 1
        if names[-1:] != ["completed"]:
            self.failures.append(f"a draft that was streamed ended with {names[-1:]}")

    async def _listen(self) -> None:
        async with self._client.stream("GET", "/api/events/stream", headers={"Last-Event-ID": self._last_event}) as answer:
            self._look(answer)
            self.streams += 1
            async for line in answer.aiter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    self._last_event = event["id"]
                    if event["type"] == "sync:completed":
                        self.told.add(event["id"])

    def _look(self, answer: httpx.Response) -> None:
        self.served_by[answer.headers.get(SERVED_BY, "nobody")] += 1
        if answer.status_code != 200:
            self.failures.append(f"{answer.request.url.path}: {answer.status_code}")


@pytest.fixture
def gateways(run_folder: Path, own_database_url: str, redis_url: str, ml_service: ScriptedMlService) -> Iterator[list[GatewayProcess]]:
    processes = [
        GatewayProcess(
            run_folder,
            database_url=own_database_url,
            redis_url=redis_url,
            ml_service_url=ml_service.url,
            trusted_proxies="127.0.0.1",
            shutdown_delay_seconds=str(DELAY_SECONDS),
            shutdown_grace_seconds=str(int(PATIENCE_SECONDS)),
        )
        for _ in range(2)
    ]
    for process in processes:
        process.start()
    yield processes
    for process in processes:
        process.kill()


@pytest.fixture
def balancer(run_folder: Path, gateways: list[GatewayProcess]) -> Iterator[LoadBalancer]:
    process = LoadBalancer(run_folder, gateways)
    process.start()
    yield process
    process.stop()


@pytest.mark.anyio
async def test_nobody_notices_a_rolling_restart(
    balancer: LoadBalancer, gateways: list[GatewayProcess], own_database_url: str, ml_service: ScriptedMlService
) -> None:
    owner = await asyncio.to_thread(paired_device, balancer.url)
    (answered,) = (await asyncio.to_thread(sync, owner, [message()]))["messages"]
    headers = {"Authorization": f"Bearer {owner.token}"}
    with ml_service.paced(TOKEN_SECONDS):
        async with httpx.AsyncClient(base_url=balancer.url, headers=headers, timeout=PATIENCE_SECONDS, verify=NO_TLS) as client:
            traffic, stop = Traffic(client, answered["id"]), asyncio.Event()
            running = asyncio.create_task(traffic.run(stop))
            for gateway in gateways:
                await _serves(gateway, traffic)
                await _restarted(gateway)
                await _serves(gateway, traffic)
            stop.set()
            await running

    assert traffic.failures == []
    assert traffic.drafts > 0
    assert traffic.streams > 1
    stored = await asyncio.to_thread(rows, own_database_url, "select imessage_guid from message where account_id = $1", owner.account_id)
    assert traffic.sent - {row["imessage_guid"] for row in stored} == set()


async def _serves(gateway: GatewayProcess, traffic: Traffic) -> None:
    """Wait until it gets its share of the requests."""
    address = f"127.0.0.1:{gateway.port}"
    before = traffic.served_by[address]
    await until(lambda: traffic.served_by[address] > before + 10)


async def _restarted(gateway: GatewayProcess) -> None:
    os.kill(gateway.process.pid or 0, signal.SIGTERM)
    await asyncio.to_thread(eventually, lambda: not gateway.process.running, seconds=START_SECONDS)
    await asyncio.to_thread(gateway.start)
