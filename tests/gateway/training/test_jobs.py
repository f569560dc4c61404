"""POST /api/training/start, and the jobs that come of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import Device
from tests.fixtures.training_system import FEWEST, MODEL, TrainingSystem, completed, job_rows, state_of
from tests.fixtures.waiting import eventually
from tests.gateway.training.situations import ask, read_job, started, trained


def test_starts_as_documented(learner: Device, training_system: TrainingSystem) -> None:
    ids = training_system.samples(learner, 5)

    answer = ask(learner, epochs=3, learningRate=0.0001, sampleIds=ids)

    assert answer.status_code == 201
    job = answer.json()["job"]
    assert {name: job[name] for name in ("status", "progress", "error", "baseModel", "method", "epochs", "learningRate")} == {
        "status": "queued", "progress": 0.0, "error": None, "baseModel": MODEL, "method": "sft", "epochs": 3, "learningRate": 0.0001,
    }  # fmt: skip
    assert (job["sampleCount"], job["deviceId"], job["history"], job["activated"]) == (5, str(learner.device_id), [], None)
    assert learner.client.get(f"/api/training/jobs/{job['id']}").json() == {"job": job}


def test_the_ml_service_gets_all_that_it_needs(learner: Device, training_system: TrainingSystem) -> None:
    ids = training_system.samples(learner, 5)
    job_id = started(learner, epochs=7)

    request = training_system.ml.request_of(job_id)

    assert [sample.id for sample in request.samples] == ids
    assert (request.samples[0].output, request.samples[0].at is not None) == ("Answer 0", True)
    assert (request.adapter_id, request.baseline_adapter_id, request.scope) == (None, None, str(learner.account_id))
    assert (request.epochs, request.base_model) == (7, MODEL)


def test_only_the_samples_that_were_named(learner: Device, training_system: TrainingSystem) -> None:
    ids = training_system.samples(learner, 8)
    job_id = started(learner, sampleIds=ids[::2])

    assert [sample.id for sample in training_system.ml.request_of(job_id).samples] == ids[::2]


def test_preferences_are_handed_over_as_pairs(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner, 6)
    training_system.rows("update sample set source = 'edit', rejected_output = 'No' where account_id = $1", learner.account_id)
    job_id = started(learner, method="dpo")

    request = training_system.ml.request_of(job_id)

    assert (request.method, len(request.samples), {sample.rejected_output for sample in request.samples}) == ("dpo", 6, {"No"})
    assert read_job(learner, job_id)["sampleCount"] == 6


def test_too_few_samples_are_counted(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner, FEWEST - 1)

    answer = ask(learner)

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "sampleIds")
    assert f"at least {FEWEST} samples" in answer.json()["message"]
    assert f"here are {FEWEST - 1}" in answer.json()["message"]
    assert job_rows(training_system, learner) == []


def test_preferences_need_pairs(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)

    answer = ask(learner, method="dpo")

    assert (answer.status_code, "preference pairs" in answer.json()["message"]) == (400, True)


def test_samples_of_others_are_unknown(learner: Device, training_system: TrainingSystem) -> None:
    theirs = training_system.samples(training_system.new_device())

    for ids in (theirs, [str(uuid4())]):
        answer = ask(learner, sampleIds=[*training_system.samples(learner), *ids])
        assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "sampleIds")
    assert job_rows(training_system, learner) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("baseModel", ""), ("baseModel", None), ("epochs", 0), ("epochs", 21), ("learningRate", 0), ("learningRate", 0.011),
        ("method", "rlhf"), ("sampleIds", []), ("sampleIds", ["1"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(learner: Device, training_system: TrainingSystem, field: str, value: Any) -> None:
    training_system.samples(learner)

    answer = ask(learner, **{field: value})

    assert (answer.status_code, answer.json()["details"][0]["field"].partition("[")[0]) == (400, field)


@pytest.mark.parametrize(("theirs", "ours"), [("base_model", "baseModel"), ("samples[2].messages", "sampleIds")])
def test_what_only_the_ml_service_knows_is_said_in_our_words(
    learner: Device, training_system: TrainingSystem, theirs: str, ours: str
) -> None:
    training_system.samples(learner)
    training_system.ml.refused_field = theirs
    try:
        answer = ask(learner)
    finally:
        training_system.ml.refused_field = None

    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, ours)
    assert "own words" not in answer.text
    assert job_rows(training_system, learner) == []


def test_an_adapter_in_use_that_has_lost_its_files_is_named(learner: Device, training_system: TrainingSystem) -> None:
    adapter_id = trained(training_system, learner)
    training_system.ml.adapters.pop(adapter_id)

    answer = ask(learner)

    assert (answer.status_code, "deactivate" in answer.json()["message"]) == (409, True)
    learner.client.post("/api/training/adapters/deactivate").raise_for_status()
    started(learner)


def test_one_device_trains_once_at_a_time_whichever_gateways_it_asks(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    devices = [learner, training_system.elsewhere(learner)] * 4

    with ThreadPoolExecutor(len(devices)) as threads:
        answers = list(threads.map(ask, devices))

    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 7
    assert len(job_rows(training_system, learner)) == 1
    assert ask(learner).status_code == 409


def test_another_device_may_train_too(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)

    assert started(learner) != started(training_system.new_device(learner))


def test_asking_again_with_the_same_key_is_asking_once(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    key = {"Idempotency-Key": str(uuid4())}

    answers = [ask(learner, key), ask(learner, key)]

    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json() == answers[1].json()


def test_newest_first_in_pages(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    ids = []
    for _ in range(3):
        ids.append(started(learner))
        learner.client.post(f"/api/training/jobs/{ids[-1]}/cancel").raise_for_status()

    first = learner.client.get("/api/training/jobs?page=1&pageSize=2").json()
    second = learner.client.get("/api/training/jobs?page=2&pageSize=2").json()

    assert [job["id"] for job in first["jobs"] + second["jobs"]] == ids[::-1]
    assert (second["total"], second["page"], second["pageSize"]) == (3, 2, 2)


def test_without_the_ml_service_it_fails_at_once_and_nothing_is_left_there(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    with training_system.ml.away():
        answer = ask(learner)
        (job,) = learner.client.get("/api/training/jobs").json()["jobs"]

    assert (answer.status_code, int(answer.headers["Retry-After"]) > 0) == (503, True)
    assert (job["status"], "try again" in job["error"]) == ("failed", True)
    training_system.look_now()
    eventually(lambda: training_system.ends_told(learner) == ["training:failed"])
    started(learner)


def test_a_training_whose_answer_got_lost_is_ended(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    training_system.ml.loses_answers = True
    try:
        answer = ask(learner)
    finally:
        training_system.ml.loses_answers = False

    (job_id,) = job_rows(training_system, learner)
    assert (answer.status_code, read_job(learner, str(job_id))["status"]) == (503, "failed")
    eventually(lambda: str(job_id) in training_system.ml.cancelled)


def test_can_be_cancelled_and_the_device_is_free_at_once(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    job_id = started(learner)
    training_system.tell(learner, state_of(job_id, "training", progress=30.0))

    answers = [learner.client.post(f"/api/training/jobs/{job_id}/cancel") for _ in range(2)]

    assert [(answer.status_code, answer.json()["job"]["status"]) for answer in answers] == [(200, "cancelled")] * 2
    started(learner)
    eventually(lambda: job_id in training_system.ml.cancelled)
    eventually(lambda: training_system.ends_told(learner) == ["training:cancelled"])


@pytest.mark.parametrize("end", ["completed", "failed"])
def test_what_has_ended_cannot_be_cancelled(learner: Device, training_system: TrainingSystem, end: str) -> None:
    training_system.samples(learner)
    job_id = started(learner)
    training_system.tell(learner, completed(job_id) if end == "completed" else state_of(job_id, "failed", error="Out of memory"))

    answer = learner.client.post(f"/api/training/jobs/{job_id}/cancel")

    assert (answer.status_code, read_job(learner, job_id)["status"]) == (409, end)


def test_a_device_that_is_deactivated_trains_no_more(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    other = training_system.new_device(learner)
    mine, theirs = started(learner), started(other)

    learner.client.post(f"/api/devices/{other.device_id}/deactivate").raise_for_status()

    job = read_job(learner, theirs)
    assert (job["status"], "deactivated" in job["error"]) == ("cancelled", True)
    assert read_job(learner, mine)["status"] == "queued"
    eventually(lambda: theirs in training_system.ml.cancelled)
    eventually(lambda: training_system.ends_told(learner) == ["training:cancelled"])


def test_strangers_neither_see_nor_stop_it(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    job_id = started(learner)
    stranger = training_system.new_device()

    assert stranger.client.get("/api/training/jobs").json()["total"] == 0
    assert stranger.client.get(f"/api/training/jobs/{job_id}").status_code == 404
    assert stranger.client.get(f"/api/training/jobs/{job_id}/report").status_code == 404
    assert stranger.client.post(f"/api/training/jobs/{job_id}/cancel").status_code == 404
    assert read_job(learner, job_id)["status"] == "queued"


def test_deleting_the_account_deletes_what_the_ml_service_has_of_it_however_late(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    job_id, scope = started(learner), str(learner.account_id)
    training_system.ml.store_adapter("old", scope)

    with training_system.ml.away():
        answer = learner.client.request("DELETE", "/api/account", json={"confirm": scope})
        assert answer.status_code == 204
        orders = "select from deletion_order where account_id = $1"
        assert len(training_system.rows(orders, learner.account_id)) == 1

    def carried_out() -> bool:
        training_system.look_now()
        return not training_system.rows(orders, learner.account_id)

    eventually(carried_out)
    asked = [request for request in training_system.ml.forgotten if request.scope == scope]
    assert {request.extent for request in asked} == {"everything"}
    assert len(asked) >= 2  # until it is complete
    assert "old" not in training_system.ml.adapters
    training_system.ml.store_adapter(job_id, scope)  # a training that was just storing it
    training_system.tell(learner, completed(job_id))
    eventually(lambda: job_id not in training_system.ml.adapters)


def test_a_training_that_was_asked_for_before_its_gateway_was_killed_begins(learner: Device, training_system: TrainingSystem) -> None:
    ids, job_id = training_system.samples(learner), uuid4()
    # The row as it is between its commit and the call to the ML service.
    training_system.rows(
        "insert into training_job (id, account_id, device_id, status, base_model, method, epochs, learning_rate, sample_ids, created_at,"
        " heard_at, look_at) values ($1, $2, $3, 'queued', $4, 'sft', 3, 0.0001, $5, now(), now(), now())",
        job_id,
        learner.account_id,
        learner.device_id,
        MODEL,
        ids,
    )

    eventually(lambda: any(request.job_id == str(job_id) for request in training_system.ml.started))
    assert read_job(learner, str(job_id))["status"] == "queued"
    assert [sample.output for sample in training_system.ml.request_of(str(job_id)).samples] == [
        f"Answer {number}" for number in range(FEWEST)
    ]


def test_samples_that_were_deleted_meanwhile_are_not_handed_over_anew(learner: Device, training_system: TrainingSystem) -> None:
    ids = training_system.samples(learner, FEWEST + 1)
    job_id = started(learner)
    learner.client.delete(f"/api/training/samples/{ids[0]}").raise_for_status()
    del training_system.ml.states[job_id]  # the ML service has lost everything

    training_system.look_now()
    eventually(lambda: job_id in training_system.ml.states)
    requests = [request for request in training_system.ml.started if request.job_id == job_id]
    assert [[sample.id for sample in request.samples] for request in requests] == [ids, ids[1:]]

    learner.client.delete(f"/api/training/samples/{ids[1]}").raise_for_status()
    del training_system.ml.states[job_id]
    training_system.look_now()
    eventually(lambda: read_job(learner, job_id)["status"] == "failed")
    assert "deleted" in read_job(learner, job_id)["error"]


def test_one_that_cannot_be_looked_after_is_given_up_and_holds_up_no_other(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    other = training_system.new_device()
    training_system.samples(other)
    broken, sound = started(learner), started(other)
    training_system.rows("update sample set messages = '[1]' where account_id = $1", learner.account_id)
    for job_id in (broken, sound):  # the ML service has forgotten them
        del training_system.ml.states[job_id]

    def given_up() -> bool:
        training_system.look_now()
        return bool(read_job(learner, broken)["status"] == "failed")

    eventually(given_up)

    assert "again and again" in read_job(learner, broken)["error"]
    eventually(lambda: sound in training_system.ml.states)
    eventually(lambda: not training_system.rows("select from training_job where id = $1 and look_at is not null", UUID(broken)))


def test_one_that_runs_for_longer_than_its_account_may_train_a_day_is_ended(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    job_id = started(learner)

    began = datetime.now(UTC) - timedelta(hours=11)
    training_system.tell(learner, state_of(job_id, "training", progress=40.0, started_at=began))
    assert read_job(learner, job_id)["status"] == "training"
    training_system.rows("update training_job set started_at = now() - interval '13 hours' where id = $1", UUID(job_id))
    training_system.tell(learner, state_of(job_id, "training", progress=50.0))

    assert "MAX_TRAINING_SECONDS_A_DAY_PER_ACCOUNT" in read_job(learner, job_id)["error"]
    eventually(lambda: job_id in training_system.ml.cancelled)
    assert training_system.ends_told(learner) == ["training:failed"]


def test_after_a_day_of_silence_it_fails(learner: Device, training_system: TrainingSystem) -> None:
    training_system.samples(learner)
    job_id = started(learner)
    training_system.rows("update training_job set heard_at = now() - interval '25 hours', look_at = now() where id = $1", UUID(job_id))

    eventually(lambda: read_job(learner, job_id)["status"] == "failed")
    assert "day" in read_job(learner, job_id)["error"]
    eventually(lambda: job_id in training_system.ml.cancelled)
