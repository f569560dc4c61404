"""GET /api/system."""

from pathlib import Path

from tests.factories import Device, calls_from, new_address, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import MODEL, ScriptedMlService
from tests.fixtures.servers import Server
from tests.fixtures.waiting import eventually
from tests.gateway.responses.situations import received


def test_says_what_serves_and_what_can_be_trained(owner: Device) -> None:
    system = owner.client.get("/api/system").json()

    assert (system["database"], system["redis"], system["engine"]) == (True, True, "ready")
    assert system["queueLength"] >= 0  # other tests' drafts wait there, too
    assert system["model"]["name"] == MODEL
    assert system["model"]["parameters"] > 100_000_000
    assert system["model"] in system["baseModels"]
    assert system["fewestTrainingSamples"] > 0
    assert system["version"]


def test_answers_all_the_same_without_the_ml_service(gateway: GatewayProcess) -> None:
    answer = paired_device(gateway.url).client.get("/api/system")

    assert answer.status_code == 200
    system = answer.json()
    assert (system["engine"], system["model"], system["baseModels"], system["queueLength"]) == ("away", None, [], None)
    assert (system["database"], system["redis"]) == (True, True)


def test_follows_a_model_that_goes_and_comes(run_folder: Path, database_url: str, valkey: Server) -> None:
    ml = ScriptedMlService(run_folder, valkey.url)
    gateway = GatewayProcess(run_folder, database_url=database_url, redis_url=valkey.url, ml_service_url=ml.url)
    gateway.start()
    try:
        owner = paired_device(gateway.url)

        def engine() -> str:
            return str(owner.client.get("/api/system").json()["engine"])

        assert engine() == "away"
        ml.start()
        eventually(lambda: engine() == "ready")
        ml.kill()
        eventually(lambda: engine() == "away")
    finally:
        gateway.stop()
        ml.stop()


def test_counts_the_drafts_that_wait(owner: Device) -> None:
    def waiting() -> int:
        return int(owner.client.get("/api/system").json()["queueLength"])

    message, before = received(owner), waiting()
    for _ in range(3):  # nobody works on this gateway's queue
        asked = {"Prefer": "respond-async", "Cache-Control": "no-cache"}
        owner.client.post("/api/responses/generate", json={"messageId": message}, headers=asked).raise_for_status()

    eventually(lambda: waiting() >= before + 3)


def test_it_asks_for_a_token_and_says_nothing_of_accounts(owner: Device, drafting_gateway: GatewayProcess) -> None:
    stranger = paired_device(drafting_gateway.url)

    assert calls_from(drafting_gateway.url, new_address()).get("/api/system").status_code == 401
    assert owner.client.get("/api/system").json() == stranger.client.get("/api/system").json()
