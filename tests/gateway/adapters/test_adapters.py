"""GET /api/training/adapters, which of them is used, and how they go."""

from uuid import UUID, uuid4

import pytest

from shared.contracts.adapters import AdapterStatus
from shared.contracts.training import DraftComparison
from tests.factories import Device
from tests.fixtures.training_system import MODEL, TrainingSystem, completed
from tests.fixtures.waiting import eventually
from tests.gateway.training.situations import active, adapters, read_job, started, trained


def test_newest_first_with_figures(learner: Device, training_system: TrainingSystem) -> None:
    ids = [trained(training_system, learner, eval_loss=loss) for loss in (2.0, 1.5)]

    newest, oldest = adapters(learner)

    assert [newest["id"], oldest["id"]] == ids[::-1]
    assert {**newest, "createdAt": ""} == {
        "id": ids[1], "jobId": ids[1], "baseModel": MODEL, "createdAt": "", "evalLoss": 1.5, "baselineEvalLoss": 2.5, "active": True,
        "stale": False, "status": "ready",
    }  # fmt: skip
    assert (oldest["active"], oldest["evalLoss"]) == (False, 2.0)


def test_the_way_back_and_forth(learner: Device, training_system: TrainingSystem) -> None:
    first, second = trained(training_system, learner), trained(training_system, learner)
    assert active(learner) == [second]

    back = learner.client.post(f"/api/training/adapters/{first}/activate")
    assert (back.status_code, back.json()["adapter"]["active"], active(learner)) == (200, True, [first])

    none = [learner.client.post("/api/training/adapters/deactivate") for _ in range(2)]
    assert [answer.status_code for answer in none] == [200, 200]
    assert (none[0].json()["adapter"]["id"], none[0].json()["adapter"]["active"], none[1].json()) == (first, False, {"adapter": None})
    assert active(learner) == []

    again = [learner.client.post(f"/api/training/adapters/{second}/activate").status_code for _ in range(2)]
    assert (again, active(learner)) == ([200, 200], [second])


def test_one_that_is_worse_can_be_chosen_all_the_same(learner: Device, training_system: TrainingSystem) -> None:
    adapter_id = trained(training_system, learner, eval_loss=3.0)
    assert active(learner) == []

    learner.client.post(f"/api/training/adapters/{adapter_id}/activate").raise_for_status()

    assert active(learner) == [adapter_id]


@pytest.mark.parametrize("kind", ["ready", "set_aside"])
def test_says_whether_it_can_be_used_now(learner: Device, training_system: TrainingSystem, kind: AdapterStatus) -> None:
    adapter_id = trained(training_system, learner)
    training_system.ml.store_adapter(adapter_id, str(learner.account_id), kind)

    assert [adapter["status"] for adapter in adapters(learner)] == [kind]


def test_one_whose_files_are_gone_says_so_and_cannot_be_chosen(learner: Device, training_system: TrainingSystem) -> None:
    adapter_id = trained(training_system, learner)
    learner.client.post("/api/training/adapters/deactivate").raise_for_status()
    del training_system.ml.adapters[adapter_id]

    assert [adapter["status"] for adapter in adapters(learner)] == ["missing"]
    assert learner.client.post(f"/api/training/adapters/{adapter_id}/activate").status_code == 409
    assert active(learner) == []


def test_is_listed_and_chosen_without_the_ml_service_too(learner: Device, training_system: TrainingSystem) -> None:
    adapter_id = trained(training_system, learner)
    learner.client.post("/api/training/adapters/deactivate").raise_for_status()
    with training_system.ml.away():
        assert [adapter["status"] for adapter in adapters(learner)] == ["unknown"]
        assert learner.client.post(f"/api/training/adapters/{adapter_id}/activate").status_code == 200

    assert active(learner) == [adapter_id]


def test_deleting_it_deletes_its_files_however_late(learner: Device, training_system: TrainingSystem) -> None:
    adapter_id = trained(training_system, learner)
    with training_system.ml.away():
        answers = [learner.client.delete(f"/api/training/adapters/{adapter_id}").status_code for _ in range(2)]

    assert (answers, adapters(learner), read_job(learner, adapter_id)["adapterId"]) == ([204, 404], [], None)
    training_system.look_now()
    eventually(lambda: adapter_id not in training_system.ml.adapters)


def test_is_stale_when_what_it_learnt_from_was_deleted(learner: Device, training_system: TrainingSystem) -> None:
    sample_ids = training_system.samples(learner)
    adapter_id = trained(training_system, learner)
    assert [adapter["stale"] for adapter in adapters(learner)] == [False]

    learner.client.delete(f"/api/training/samples/{sample_ids[0]}").raise_for_status()

    assert [(adapter["id"], adapter["stale"], adapter["active"]) for adapter in adapters(learner)] == [(adapter_id, True, True)]


def test_one_that_is_stale_when_it_comes_stays_inactive(learner: Device, training_system: TrainingSystem) -> None:
    sample_ids = training_system.samples(learner)
    job_id = started(learner)
    learner.client.delete(f"/api/training/samples/{sample_ids[0]}").raise_for_status()

    training_system.tell(learner, completed(job_id))

    assert [(adapter["stale"], adapter["active"]) for adapter in adapters(learner)] == [(True, False)]
    assert "deleted" in read_job(learner, job_id)["activationNote"]


def test_what_is_shown_of_a_sample_goes_with_it(learner: Device, training_system: TrainingSystem) -> None:
    gone_before, gone_after, kept, _ = training_system.samples(learner)
    job_id = started(learner)
    learner.client.delete(f"/api/training/samples/{gone_before}").raise_for_status()
    shown = [
        DraftComparison(sample_id=sample_id, input=f"Asked {sample_id}", expected="e", before="b", after="a")
        for sample_id in (gone_before, gone_after, kept)
    ]
    training_system.tell(learner, completed(job_id, comparisons=shown))
    learner.client.delete(f"/api/training/samples/{gone_after}").raise_for_status()

    page = learner.client.get(f"/api/training/jobs/{job_id}/report").text

    assert [f"Asked {sample_id}" in page for sample_id in (gone_before, gone_after, kept)] == [False, False, True]
    stored = training_system.rows("select comparisons::text as text from training_job where id = $1", UUID(job_id))
    assert gone_after not in stored[0]["text"]


def test_strangers_have_none_of_it(learner: Device, training_system: TrainingSystem) -> None:
    adapter_id = trained(training_system, learner)
    stranger = training_system.new_device()

    assert adapters(stranger) == []
    for unknown in (adapter_id, uuid4()):
        assert stranger.client.post(f"/api/training/adapters/{unknown}/activate").status_code == 404
        assert stranger.client.delete(f"/api/training/adapters/{unknown}").status_code == 404
    stranger.client.post("/api/training/adapters/deactivate").raise_for_status()
    assert active(learner) == [adapter_id]
