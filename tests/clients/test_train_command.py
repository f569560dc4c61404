"""`assistant train`: from past replies to an adapter, with a stand-in for the ML service that trains nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from assistant_client import Client, FileStore

from tests.clients.command_line import CommandLine
from tests.clients.threads import thread
from tests.factories import Device, device_with
from tests.fixtures.training_system import FEWEST, MODEL, TrainingSystem, completed, running_training_system, state_of
from tests.fixtures.waiting import eventually


@pytest.fixture(scope="module")
def training_system(run_folder: Path) -> Iterator[TrainingSystem]:
    with running_training_system(run_folder / "client-training") as system:
        yield system


@pytest.fixture
def user(training_system: TrainingSystem, tmp_path: Path) -> CommandLine:
    """A user with some past replies."""
    store = FileStore(tmp_path / ".config" / "conversation-assistant" / "device.json")
    with Client(training_system.gateways[0].url, store) as client:
        client.pair("Laptop")
        client.sync_messages(thread(*(f"message {number}" for number in range(2 * FEWEST))))
    return CommandLine(tmp_path)


def device_of(user: CommandLine) -> Device:
    credentials = FileStore(user.home / ".config" / "conversation-assistant" / "device.json").load()
    assert credentials is not None
    return device_with(credentials.url, credentials.token, credentials.refresh_token)


def job_of(system: TrainingSystem, user: CommandLine) -> str:
    """The id of the user's training, once it has reached the ML service."""
    scope = str(device_of(user).account_id)

    def started() -> list[str]:
        return [str(request.job_id) for request in system.ml.started if request.scope == scope]

    eventually(lambda: started() != [])
    return started()[0]


def test_a_training_is_followed_to_an_adapter_that_is_in_use(training_system: TrainingSystem, user: CommandLine) -> None:
    training = user.start("train", "--epochs", "2")
    job_id = job_of(training_system, user)
    training_system.tell(device_of(user), state_of(job_id, "training", progress=40.0, loss=2.31))
    assert training.stderr is not None
    said = ""
    while "loss 2.31" not in said:
        said += training.stderr.readline()
    training_system.tell(device_of(user), completed(job_id))
    output, _ = training.communicate()

    assert training.returncode == 0
    assert f"{FEWEST} new samples" in said
    assert f"Training {MODEL} on {FEWEST} samples" in said
    assert "40 %" in said
    assert "2.50 before, 2.00 now" in output
    assert "is in use" in output
    assert training_system.ml.request_of(job_id).epochs == 2


def test_an_adapter_that_is_no_better_is_not_in_use_and_it_says_why(training_system: TrainingSystem, user: CommandLine) -> None:
    training = user.start("train")
    job_id = job_of(training_system, user)
    training_system.tell(device_of(user), completed(job_id, eval_loss=2.6))
    output, _ = training.communicate()

    assert training.returncode == 0
    [job] = (job for job in [device_of(user).client.get(f"/api/training/jobs/{job_id}").json()["job"]])
    assert f"The new adapter is not in use. {job['activationNote']}" in output


def test_who_comes_back_follows_the_training_that_runs(training_system: TrainingSystem, user: CommandLine) -> None:
    first = user.start("train")
    job_id = job_of(training_system, user)
    first.kill()
    first.communicate()
    second = user.start("train", "--json", "--base-model", MODEL)
    assert second.stderr is not None
    said = ""
    while "running already" not in said:
        said += second.stderr.readline()
    training_system.tell(device_of(user), state_of(job_id, "failed", error="The loss is no number any more"))
    output, _ = second.communicate()

    assert second.returncode == 1
    assert (json.loads(output)["id"], json.loads(output)["status"]) == (job_id, "failed")


def test_without_messages_there_is_nothing_to_train_on(training_system: TrainingSystem, tmp_path: Path) -> None:
    nobody = CommandLine(tmp_path)
    nobody.good("pair", "--url", training_system.gateways[0].url)
    done = nobody.run("train")

    assert (done.returncode, done.stdout) == (1, "")
    assert "assistant import" in done.stderr
