"""`make run` from start to stop."""

import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.end_to_end.client import synced_thread
from tests.factories import Device, device_with, paired_device
from tests.fixtures.local_run import LocalRun, local_run
from tests.fixtures.ml_service import data_folder
from tests.fixtures.processes import gone
from tests.fixtures.waiting import ENGINE_SECONDS, PATIENCE_SECONDS, START_SECONDS, eventually


@pytest.fixture
def data_dir(tmp_path: Path, smollm2: Path) -> Path:
    """A data folder of its own, in which the model is unpacked already."""
    return data_folder(tmp_path / "data")


def command(process: psutil.Process) -> list[str]:
    """Its command line; nothing when it has just ended, as PostgreSQL's helpers do."""
    try:
        return list(process.cmdline())
    except psutil.NoSuchProcess:
        return []


def connections(process: psutil.Process) -> list[Any]:
    """Its TCP connections, in the same way."""
    try:
        return list(process.net_connections("tcp"))
    except psutil.NoSuchProcess:
        return []


def wait_for_ends(processes: list[psutil.Process]) -> None:
    eventually(lambda: all(map(gone, processes)))


def test_the_demo_tells_its_story_and_ctrl_c_leaves_nothing_running(data_dir: Path) -> None:
    with local_run(data_dir) as run:
        demo = subprocess.run(
            [sys.executable, "-m", "deploy.local.demo"],
            env=run.environment,
            capture_output=True,
            text=True,
            timeout=ENGINE_SECONDS,
            check=False,
        )
        family = run.family()
        code = run.end(signal.SIGINT)

    assert demo.returncode == 0, demo.stdout + demo.stderr
    for part in ("1. Pair a device", "7 created", "7 unchanged", "smollm2-135m-instruct wrote", "rejectedOutput"):
        assert part in demo.stdout
    assert len(family) > 5
    assert code == 0
    wait_for_ends(family)
    stopped = [line.removeprefix("stopped ") for line in run.output.splitlines() if line.startswith("stopped ")]
    assert stopped[0] == "Gateway"
    assert stopped[1:] == ["Training worker", "Generation worker", "ML service", "Valkey", "PostgreSQL"]


def test_a_second_run_finds_the_data_of_the_first_and_sigterm_stops_it(data_dir: Path) -> None:
    with local_run(data_dir, ENGINE="scripted") as first:
        device = paired_device(first.url)
        family = first.family()
        assert first.end(signal.SIGTERM) == 0
        wait_for_ends(family)

    with local_run(data_dir, ENGINE="scripted") as second:
        again = device_with(second.url, device.token, device.refresh_token)

        assert [each["current"] for each in again.client.get("/api/devices").json()["devices"]] == [True]


CHILDREN = {
    "PostgreSQL": "bin/postgres",
    "Valkey": "valkey-server",
    "ML service": "-m ml_service",
    "Generation worker": "-m ml_service.jobs generation",
    "Training worker": "-m ml_service.jobs training",
    "Gateway": "-m gateway serve",
}


def child(run: LocalRun, name: str) -> psutil.Process | None:
    """A child of the run by its name, when it is there."""
    for process in psutil.Process(run.process.pid).children():
        line = " ".join(command(process))
        if line.endswith(CHILDREN[name]) or (name in ("PostgreSQL", "Valkey") and CHILDREN[name] in line):
            return process
    return None


def accepted_one(device: Device, message_id: str, drafts: list[str]) -> bool:
    """Queue a draft, while parts of the system may be away; its id is added to `drafts` if it was accepted."""
    headers = {"Prefer": "respond-async", "Cache-Control": "no-cache"}
    with suppress(httpx.TransportError):  # no gateway
        answer = device.client.post("/api/responses/generate", json={"messageId": message_id}, headers=headers)
        if answer.status_code == 202:
            drafts.append(answer.json()["responseId"])
            return True
    return False


def test_each_child_is_killed_once_under_load_and_every_accepted_draft_ends(data_dir: Path) -> None:
    with local_run(data_dir, ENGINE="scripted") as run:
        device = paired_device(run.url)
        message_id = synced_thread(device)
        drafts: list[str] = []
        for name in CHILDREN:
            before = child(run, name)
            assert before is not None, name
            eventually(lambda: accepted_one(device, message_id, drafts), START_SECONDS)  # the one that was killed before may still start
            for _ in range(5):
                accepted_one(device, message_id, drafts)
            before.kill()
            for _ in range(3):
                accepted_one(device, message_id, drafts)
            eventually(lambda name=name, before=before: child(run, name) not in (None, before), START_SECONDS)  # type: ignore[misc]

        eventually(lambda: accepted_one(device, message_id, drafts), START_SECONDS)

        def statuses() -> set[str]:
            return {device.client.get(f"/api/responses/{draft}").json()["status"] for draft in drafts}

        eventually(lambda: statuses() == {"completed"}, START_SECONDS)
        assert len(drafts) > len(CHILDREN)
        assert run.process.poll() is None
        assert run.end(signal.SIGTERM) == 0
    for name in CHILDREN:
        assert f"! {name} was ended by SIGKILL." in run.output
        assert f"✓ {name} was started again" in run.output


def test_the_answers_of_both_services_are_for_this_machine_only(shared_run: LocalRun) -> None:
    listening = {
        connection.laddr.ip
        for process in [*shared_run.family()]
        for connection in connections(process)
        if connection.status == psutil.CONN_LISTEN
    }
    without_token = httpx.post(
        f"http://127.0.0.1:{shared_run.environment['ML_SERVICE_PORT']}/generate", json={"prompt": "Hello"}, timeout=PATIENCE_SECONDS
    )

    assert listening == {"127.0.0.1"}
    assert without_token.status_code == 401


def test_nobody_else_on_the_machine_can_read_in_the_data_folder(shared_run: LocalRun) -> None:
    data_dir = Path(shared_run.environment["DATA_DIR"])
    written = [path for path in data_dir.rglob("*") if not path.is_symlink()]

    assert {"lock", "secrets.json", "logs", "postgres", "valkey"} <= {path.name for path in data_dir.iterdir()}
    assert [path for path in [data_dir, *written] if path.exists() and path.stat().st_mode & 0o077] == []


def test_nothing_is_left_running_when_it_is_killed_itself(shared_run: LocalRun) -> None:
    family = shared_run.family()
    shared_run.process.kill()
    shared_run.process.communicate()

    assert len(family) > 5
    wait_for_ends(family)
