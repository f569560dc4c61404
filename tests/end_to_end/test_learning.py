"""History becomes samples, samples become a personal adapter, and the adapter writes the next draft: on the real trainer and engine."""

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from deploy.local import demo_learning
from deploy.local.settings import LocalSettings
from tests.end_to_end.learner import (
    QUESTIONS,
    import_history,
    likeliest_draft,
    new_message,
    start_training,
    sync_history,
    trained,
)
from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ml_service import MlServiceProcess
from tests.fixtures.waiting import ENGINE_SECONDS, eventually
from tests.fixtures.workers import WorkerProcess

pytestmark = pytest.mark.timeout(3600)  # its trainings take minutes each where there is little processor, and belong to the first test

WORDS = ("mango", "velvet", "harbor", "copper", "lantern", "pepper", "willow", "thunder")
"""What each of eight owners always says."""


def trained_owners(gateway: GatewayProcess, words: Sequence[str]) -> dict[str, Device]:
    """Accounts that trained one after the other on the one worker, by the word that each says."""
    devices = {word: paired_device(gateway.url) for word in words}
    jobs = {}
    for word, device in devices.items():
        sync_history(device, word)
        assert import_history(device) == len(QUESTIONS)
        jobs[word] = start_training(device)
    for word, device in devices.items():
        job = trained(device, jobs[word], seconds=ENGINE_SECONDS * len(words))
        assert job["status"] == "completed", job["error"]
        assert job["activated"], job
        assert job["evalLoss"] < job["baselineEvalLoss"]
    return devices


@pytest.fixture(scope="module")
def owners(whole_system: GatewayProcess, training_worker: WorkerProcess) -> dict[str, Device]:
    """Two accounts: all tests but the slow ones look at what came of their trainings."""
    return trained_owners(whole_system, WORDS[:2])


def assert_each_is_answered_by_its_own_adapter(owners: dict[str, Device]) -> None:
    drafts = {word: likeliest_draft(device, new_message(device)) for word, device in owners.items()}

    for word, draft in drafts.items():
        said = {each for each in WORDS if each in draft["response"]}
        assert said == {word}, draft
    versions = [draft["modelVersion"] for draft in drafts.values()]
    assert all("+" in version for version in versions)
    assert len(set(versions)) == len(owners)


def test_each_account_is_answered_by_its_own_adapter_alone(owners: dict[str, Device]) -> None:
    assert_each_is_answered_by_its_own_adapter(owners)


@pytest.mark.slow
def test_each_of_eight_accounts_is_answered_by_its_own_adapter_alone(whole_system: GatewayProcess, training_worker: WorkerProcess) -> None:
    assert_each_is_answered_by_its_own_adapter(trained_owners(whole_system, WORDS))


def test_the_way_back_to_the_base_model_and_forth_again(owners: dict[str, Device]) -> None:
    device = owners["mango"]
    message = new_message(device)
    [adapter] = device.client.get("/api/training/adapters").json()["adapters"]

    assert device.client.post("/api/training/adapters/deactivate").status_code in (200, 204)
    base = likeliest_draft(device, message)
    assert device.client.post(f"/api/training/adapters/{adapter['id']}/activate").status_code == 200
    own = likeliest_draft(device, message)

    assert "mango" not in base["response"]
    assert "+" not in base["modelVersion"]
    assert "mango" in own["response"]


# In the suite the gateway decides so on figures that it is told, and the trainer compares with the adapter in use.
@pytest.mark.slow
def test_an_adapter_that_is_worse_stays_out_of_use(owners: dict[str, Device]) -> None:
    device = owners["velvet"]

    job = trained(device, start_training(device, epochs=1, learningRate=1e-7))

    assert job["status"] == "completed", job["error"]
    assert not job["activated"]
    assert job["evalLoss"] > job["baselineEvalLoss"]
    assert "velvet" in likeliest_draft(device, new_message(device))["response"]


@pytest.mark.slow  # in the suite a killed engine gets its adapters back, see tests/ml_service/adapters/test_real_engine.py
def test_adapters_survive_a_restart_of_the_model(owners: dict[str, Device], model_service: MlServiceProcess) -> None:
    model_service.stop()
    model_service.start()

    assert_each_is_answered_by_its_own_adapter(owners)


def test_a_deleted_account_leaves_no_adapter(owners: dict[str, Device], adapter_store: Path) -> None:
    gone, left = owners["velvet"], owners["mango"]
    assert _files_of(adapter_store, gone)

    answer = gone.client.request("DELETE", "/api/account", json={"confirm": str(gone.account_id)})

    assert answer.status_code in (200, 204), answer.text
    eventually(lambda: not _files_of(adapter_store, gone))
    assert _files_of(adapter_store, left)
    assert "mango" in likeliest_draft(left, new_message(left))["response"]


def test_the_demonstration_tells_its_story_and_ends_in_the_owners_voice(
    whole_system: GatewayProcess, training_worker: WorkerProcess, tmp_path: Path
) -> None:
    """What is learned in three threads is spoken in new ones: every prompt of the import's shows how the owner's earlier replies began, and
    a model that only copies them has no voice elsewhere."""
    screen = io.StringIO()

    with httpx.Client(base_url=whole_system.url, timeout=ENGINE_SECONDS) as client:
        demo_learning._story(client, Console(file=screen, width=140), LocalSettings(data_dir=str(tmp_path)))
        [job] = client.get("/api/training/jobs").json()["jobs"]

    told = screen.getvalue()
    assert re.search(r"step (\d+) of \1\b", told)
    for part in ("→ 64 samples", "held-out replies", "It is in use now", "smollm2-135m-instruct+"):
        assert part in told
    [voiced] = re.findall(r"In the owner's voice: 0 of 4 before, (\d) of 4 after", told)
    assert int(voiced) >= 2
    assert 500 < job["peakMemoryMib"] < 3072
    [report] = (tmp_path / "reports").iterdir()
    assert "polyline" in report.read_text()


def _files_of(store: Path, device: Device) -> list[Path]:
    """What the store has of an account, whatever else comes and goes meanwhile."""
    scope = store / str(device.account_id)
    return [Path(folder, name) for folder, _, names in os.walk(scope) for name in names]
