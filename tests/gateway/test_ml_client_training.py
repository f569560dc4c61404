"""What the gateway says to the ML service about trainings and adapters: to the real one, and to the stand-in of the gateway's tests, which
so is held to what the real one does."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from deploy.local.servers import EmbeddedValkey
from gateway.ml_client import MlClient
from shared.contracts.service import ForgetRequest
from shared.contracts.training import TrainingRequest, TrainingSample
from shared.errors import BadRequest, Conflict, Unavailable
from tests.fixtures.ports import free_port
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.training_system import MODEL, StandInMlService

pytestmark = pytest.mark.anyio

SAMPLES = [TrainingSample(id=str(uuid4()), input=f"Question {number}", output=f"Answer {number}") for number in range(4)]


@pytest.fixture(scope="module")
def real(run_folder: Path) -> Iterator[str]:
    """Its own Valkey keeps gateways of other tests from hearing of these trainings."""
    folder = run_folder / "ml-client"
    folder.mkdir()
    valkey = EmbeddedValkey(folder / "valkey", folder / "valkey.log")
    valkey.start()
    service = ScriptedMlService(folder, valkey.url, data_dir=str(folder / "data"))
    service.start()
    yield service.url
    service.stop()
    valkey.stop()


@pytest.fixture(scope="module")
def stand_in() -> Iterator[str]:
    service = StandInMlService()
    service.start()
    yield service.url
    service.stop()


@pytest.fixture(params=["real", "stand_in"])
async def ml(request: pytest.FixtureRequest) -> AsyncIterator[MlClient]:
    client = MlClient([request.getfixturevalue(request.param)], "", 5)
    yield client
    await client.close()


def training(account_id: UUID, job_id: UUID) -> TrainingRequest:
    return TrainingRequest(job_id=str(job_id), adapter_id=str(job_id), base_model=MODEL, samples=SAMPLES, scope=str(account_id))


async def test_a_training_is_accepted_once_and_can_be_asked_for_and_ended(ml: MlClient) -> None:
    account_id, job_id = uuid4(), uuid4()
    assert await ml.training_state(job_id) is None

    await ml.start_training(training(account_id, job_id))
    await ml.start_training(training(account_id, job_id))
    state = await ml.training_state(job_id)
    assert (state is not None and state.status, state is not None and state.job_id) == ("queued", str(job_id))

    for _ in range(2):
        assert await ml.forget(ForgetRequest(scope=str(account_id), adapter_ids=[str(job_id)]))
    assert await ml.training_state(job_id) is None


async def test_a_training_that_has_not_ended_is_forgotten_later(ml: MlClient) -> None:
    account_id, job_id = uuid4(), uuid4()
    await ml.start_training(training(account_id, job_id))

    assert not await ml.forget(ForgetRequest(scope=str(account_id), training_ids=[str(job_id)]))

    state = await ml.training_state(job_id)
    assert state is not None
    assert state.status == "queued"


async def test_nothing_of_another_account_is_forgotten(ml: MlClient) -> None:
    account_id, job_id = uuid4(), uuid4()
    await ml.start_training(training(account_id, job_id))

    assert await ml.forget(ForgetRequest(scope=str(uuid4()), adapter_ids=[str(job_id)], training_ids=[str(job_id)], job_ids=[str(job_id)]))

    assert await ml.training_state(job_id) is not None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"base_model": "no-such-model"}, "baseModel"),
        ({"samples": [replace(SAMPLES[0], quality=0.0)]}, "sampleIds"),
        ({"method": "dpo"}, "sampleIds"),
    ],
)
async def test_refusals_name_our_fields(ml: MlClient, change: dict[str, object], field: str) -> None:
    with pytest.raises(BadRequest) as refused:
        await ml.start_training(replace(training(uuid4(), uuid4()), **change))  # type: ignore[arg-type]

    assert [problem.field for problem in refused.value.details] == [field]


async def test_a_baseline_that_is_gone_is_a_conflict(ml: MlClient) -> None:
    with pytest.raises(Conflict):
        await ml.start_training(replace(training(uuid4(), uuid4()), baseline_adapter_id=str(uuid4())))


async def test_what_an_account_has_can_be_listed_and_deleted(ml: MlClient) -> None:
    account_id, job_id = uuid4(), uuid4()
    await ml.start_training(training(account_id, job_id))

    await ml.forget(ForgetRequest(scope=str(account_id), adapter_ids=[str(job_id)]))
    assert await ml.forget(ForgetRequest(scope=str(account_id), extent="everything"))

    assert await ml.adapters(account_id) == []
    assert await ml.training_state(job_id) is None


async def test_nobody_there(anyio_backend: str) -> None:
    ml = MlClient([f"http://127.0.0.1:{free_port()}"], "", 5)
    try:
        for call in (ml.training_state(uuid4()), ml.adapters(uuid4()), ml.forget(ForgetRequest(scope="a"))):
            with pytest.raises(Unavailable):
                await call
    finally:
        await ml.close()
