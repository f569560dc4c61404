"""The workspace assistant: what a turn costs beside the model's own time, a search beside grep, and a long list of conversations."""

import asyncio
import random
import statistics
import subprocess
import time
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx

from deploy.local.servers import EmbeddedPostgres, EmbeddedValkey
from gateway.database import migrate
from tests.benchmarks.measure import Goal, Measurement, alternate
from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_chat import ScriptedChat, answer, calls, scripted_chat
from tests.gateway.workspace.projects import Context

_TURNS, _FILES, _CONVERSATIONS, _CALLS = 20, 10_000, 10_000, 30
_ADD = """
    insert into workspace_conversation (id, account_id, name, project, provider, model, title, created_at, updated_at)
    select gen_random_uuid(), $1, 'c' || n, $2, 'local', 'scripted', 'Title ' || n, now(), now() - n * interval '1 second'
    from generate_series(1, $3::int) n
"""


def measure(folder: Path, rounds: int) -> list[Measurement]:
    """All of it on servers of its own."""
    postgres = EmbeddedPostgres(folder / "workspace-postgres", folder / "workspace-postgres.log")
    valkey = EmbeddedValkey(folder / "workspace-valkey", folder / "workspace-valkey.log")
    root = folder / "workspace"
    root.mkdir()
    _fill(root)
    postgres.start()
    valkey.start()
    try:
        asyncio.run(migrate(postgres.url))
        with scripted_chat() as chat:
            gateway = GatewayProcess(
                folder, database_url=postgres.url, redis_url=valkey.url, ml_service_url=chat.url, workspace_roots=str(root)
            )
            gateway.start()
            try:
                device = paired_device(gateway.url)
                asyncio.run(_add_conversations(postgres.url, device, root))
                return [_turn(chat, device, root, rounds), _search(root, rounds), _list(device, root, rounds)]
            finally:
                gateway.stop()
    finally:
        valkey.stop()
        postgres.stop()


def _turn(chat: ScriptedChat, device: Device, root: Path, rounds: int) -> Measurement:
    """Milliseconds of a turn with one tool call: all of them, beside the model's alone."""

    def ours() -> float:
        chat.turns = [*(calls(("forget_files", {"fileNames": [f"{number}.txt"]})) for number in range(_TURNS)), answer("Done")]
        begin = time.perf_counter()
        said = device.client.post(f"/api/v1/conversation/{uuid4().hex}", json={"statement": "Go", "startDir": str(root)})
        assert said.status_code == 200, said.text
        return (time.perf_counter() - begin) * 1000 / (_TURNS + 1)

    def models() -> float:
        body = {**chat.asked[-1], "messages": chat.asked[-1]["messages"]}
        begin = time.perf_counter()
        with httpx.Client() as client:
            for _ in range(_TURNS):
                chat.turns = [calls(("forget_files", {"fileNames": ["x.txt"]}))]
                client.post(f"{chat.url}/v1/chat/completions", json=body).raise_for_status()
        return (time.perf_counter() - begin) * 1000 / _TURNS

    ours()
    measured, raw = alternate(rounds, ours, models)
    return Measurement(
        what="a turn of the workspace assistant with one tool call",
        unit="ms",
        ours=measured,
        against="the scripted model alone",
        theirs=raw,
        goal=Goal(rule="added at most", value=10),
    )


def _search(root: Path, rounds: int) -> Measurement:
    context = Context(root)

    def ours() -> float:
        begin = time.perf_counter()
        assert len(context.use("search_project", contentPattern="needle h.re", caseSensitive=True).data["files"]) == _FILES // 500
        return time.perf_counter() - begin

    def grep() -> float:
        begin = time.perf_counter()
        subprocess.run(["grep", "-rnIE", "needle h.re", str(root)], capture_output=True, check=True)
        return time.perf_counter() - begin

    measured, raw = alternate(rounds, ours, grep)
    return Measurement(
        what=f"search_project over {_FILES:,} files",
        unit="s",
        ours=measured,
        against="grep -r",
        theirs=raw,
        goal=Goal(rule="ratio at most", value=3),
    )


def _list(device: Device, root: Path, rounds: int) -> Measurement:
    def page() -> float:
        times = []
        for number in range(_CALLS):
            begin = time.perf_counter()
            query = {"startDir": str(root), "page": str(number + 1), "pageSize": "50"}
            device.client.get("/api/v1/conversation", params=query).raise_for_status()
            times.append((time.perf_counter() - begin) * 1000)
        return statistics.median(times)

    return Measurement(
        what=f"a page of {_CONVERSATIONS:,} workspace conversations, p50",
        unit="ms",
        ours=[page() for _ in range(rounds)],
        goal=Goal(rule="at most", value=20),
    )


def _fill(root: Path) -> None:
    """Files of forty lines each; in every five hundredth there is a needle."""
    made = random.Random(1)
    words = ["".join(made.choices("abcdefghijklmnopqrstuvwxyz", k=made.randint(3, 9))) for _ in range(5_000)]
    for number in range(_FILES):
        folder = root / f"d{number % 100}" / f"e{number % 10}"
        folder.mkdir(parents=True, exist_ok=True)
        text = "\n".join(" ".join(made.choices(words, k=10)) for _ in range(40))
        (folder / f"f{number}.py").write_text(f"{text}\nneedle here\n" if number % 500 == 0 else text)


async def _add_conversations(database_url: str, device: Device, root: Path) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(_ADD, device.account_id, str(root.resolve()), _CONVERSATIONS)
    finally:
        await connection.close()
