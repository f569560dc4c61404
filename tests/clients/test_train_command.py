"""`assistant train`: from past replies to an adapter. There is no worker: the tests tell the gateway what one would."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import httpx
import msgspec
import pytest
from assistant_client import Client, FileStore
from assistant_client.models import TrainingJob

from shared.contracts.training import TrainingState
from shared.redis_events import EVENT_FIELD, JOB_EVENTS_GROUP, TRAINING_EVENTS, TrainingEvent
from tests.clients.command_line import CommandLine
from tests.clients.threads import thread
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.training_system import MODEL, completed, state_of
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually

REPLIES = 10
"""The fewest that the gateway trains on."""

Tell: TypeAlias = Callable[[TrainingState], None]


@pytest.fixture
def user(client: Client, tmp_path: Path) -> CommandLine:
    """A user with some past replies, at the client's device."""
    FileStore(tmp_path / ".config" / "conversation-assistant" / "device.json").save(client.credentials)
    client.sync_messages(thread(*(f"message {number}" for number in range(2 * REPLIES))))
    return CommandLine(tmp_path)


@pytest.fixture
def tell(client: Client, redis: Redis, ml_service: ScriptedMlService) -> Iterator[Tell]:
    """Tells the gateway how a training of the client's account is, and waits until it has taken that in."""

    def tell(state: TrainingState) -> None:
        event = TrainingEvent(scope=str(client.credentials.account_id), state=state)
        redis.xadd(TRAINING_EVENTS, {EVENT_FIELD: msgspec.json.encode(event)})
        eventually(lambda: redis.xlen(TRAINING_EVENTS) == 0 and redis.xpending(TRAINING_EVENTS, JOB_EVENTS_GROUP)["pending"] == 0)

    yield tell
    for job in client.training_jobs().jobs:  # or another test's worker would take them
        httpx.post(f"{ml_service.url}/training/cancel/{job.id}", timeout=PATIENCE_SECONDS).raise_for_status()


def said(process: "subprocess.Popen[str]", words: str) -> str:
    """What a process notes, up to the line that has these words."""
    assert process.stderr is not None
    lines = [process.stderr.readline()]
    while words not in lines[-1]:
        assert lines[-1], lines
        lines.append(process.stderr.readline())
    return "".join(lines)


def newest_job(client: Client) -> TrainingJob:
    return client.training_jobs(page_size=1).jobs[0]


def test_a_training_is_followed_to_an_adapter_that_is_in_use(user: CommandLine, client: Client, tell: Tell) -> None:
    training = user.start("train", "--epochs", "2")
    beginning = said(training, "Training ")
    job = newest_job(client)
    tell(state_of(str(job.id), "training", progress=40.0, loss=2.31))
    progress = said(training, "loss 2.31")
    tell(completed(str(job.id)))
    output, _ = training.communicate()

    assert f"{REPLIES} new samples" in beginning
    assert f"Training {MODEL} on {REPLIES} samples" in beginning
    assert job.epochs == 2
    assert "40 %" in progress
    assert training.returncode == 0
    assert "2.50 before, 2.00 now" in output
    assert "is in use" in output


def test_on_a_terminal_the_loss_is_shown_while_it_trains(user: CommandLine, client: Client, tell: Tell) -> None:
    with user.on_terminal("train") as terminal:
        terminal.wait_for("Training ")
        job_id = str(newest_job(client).id)
        for progress, loss in ((20.0, 3.04), (60.0, 2.31)):
            tell(state_of(job_id, "training", progress=progress, loss=loss))
            terminal.wait_for(f"training, loss {loss}")
        assert "60 %" in terminal.seen
        tell(completed(job_id))
        terminal.wait_for("is in use")
        assert terminal.end() == 0


def test_an_adapter_that_is_no_better_is_not_in_use_and_it_says_why(user: CommandLine, client: Client, tell: Tell) -> None:
    training = user.start("train")
    said(training, "Training ")
    tell(completed(str(newest_job(client).id), eval_loss=2.6))
    output, _ = training.communicate()

    assert training.returncode == 0
    assert f"The new adapter is not in use. {newest_job(client).activation_note}" in output


def test_who_comes_back_follows_the_training_that_runs(user: CommandLine, client: Client, tell: Tell) -> None:
    first = user.start("train")
    said(first, "Training ")
    first.kill()
    first.communicate()
    second = user.start("train", "--json", "--base-model", MODEL)
    said(second, "running already")
    job_id = str(newest_job(client).id)
    tell(state_of(job_id, "failed", error="The loss is no number any more"))
    output, _ = second.communicate()

    assert second.returncode == 1
    assert (json.loads(output)["id"], json.loads(output)["status"]) == (job_id, "failed")


def test_without_messages_there_is_nothing_to_train_on(drafting_gateway: GatewayProcess, tmp_path: Path) -> None:
    nobody = CommandLine(tmp_path)
    nobody.good("pair", "--url", drafting_gateway.url)
    done = nobody.run("train")

    assert (done.returncode, done.stdout) == (1, "")
    assert "assistant import" in done.stderr
