from pathlib import Path

import pytest

from ml_service.app import create_app
from ml_service.engine.scripted_engine import ScriptedEngine
from ml_service.models.catalogue import CatalogueError, ModelEntry
from tests.ml_service.conftest import InProcess, running, scripted_settings

pytestmark = pytest.mark.anyio


async def test_the_catalogue_is_listed(service: InProcess) -> None:
    listed = (await service.client.get("/models")).json()
    assert listed["active"] == "smollm2-135m-instruct"
    by_name = {model["name"]: model for model in listed["models"]}
    assert by_name["smollm2-135m-instruct"]["active"]
    assert not by_name["ministral-3b-instruct"]["active"]


async def test_another_model_of_the_catalogue_is_served(service: InProcess) -> None:
    answer = await service.client.post("/model/reload", params={"model_id": "ministral-3b-instruct"})
    assert answer.json() | {"seconds": 0} == {
        "status": "reloaded",
        "previous": "smollm2-135m-instruct",
        "model_version": "ministral-3b-instruct",
        "seconds": 0,
    }
    assert (await service.client.get("/health")).json()["model_version"] == "ministral-3b-instruct"
    generated = await service.client.post("/generate", json={"prompt": "hello"})
    assert generated.json()["model_version"] == "ministral-3b-instruct"


async def test_the_model_that_serves_is_left_alone(service: InProcess) -> None:
    answer = await service.client.post("/model/reload", params={"model_id": "smollm2-135m-instruct"})
    assert answer.json()["status"] == "unchanged"


@pytest.mark.parametrize("model_id", ["no-such-model", "../etc/passwd", "/srv/weights", "mistralai/Ministral-3-3B-Instruct-2512"])
async def test_only_names_of_the_catalogue_are_known(service: InProcess, model_id: str) -> None:
    assert (await service.client.post("/model/reload", params={"model_id": model_id})).status_code == 404


async def test_a_name_must_be_given(service: InProcess) -> None:
    answer = await service.client.post("/model/reload")
    assert (answer.status_code, answer.json()["details"][0]["field"]) == (400, "model_id")


async def test_a_model_that_cannot_be_loaded_leaves_the_old_one() -> None:
    def make(entry: ModelEntry) -> ScriptedEngine:
        if entry.name == "ministral-3b-instruct":
            raise OSError("no such weights in /srv/somewhere")
        return ScriptedEngine()

    async with running(scripted_settings(), make) as service:
        answer = await service.client.post("/model/reload", params={"model_id": "ministral-3b-instruct"})
        assert answer.status_code == 503
        assert "smollm2-135m-instruct keeps serving" in answer.json()["message"]
        assert "somewhere" not in answer.text
        assert (await service.client.post("/generate", json={"prompt": "hello"})).json()["model_version"] == "smollm2-135m-instruct"


async def test_the_engines_openai_api_is_not_promised_where_there_is_none(service: InProcess) -> None:
    assert (await service.client.get("/v1/models")).status_code == 404
    service.engine.kill()
    away = await service.client.get("/v1/models")
    assert (away.status_code, away.json()["error"]) == (503, "Service Unavailable")


def test_a_model_outside_the_catalogue_stops_the_start() -> None:
    with pytest.raises(CatalogueError, match="MODEL_ID is unheard-of"):
        create_app(scripted_settings(model_id="unheard-of"))


def test_a_missing_catalogue_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(CatalogueError, match="cannot be used"):
        create_app(scripted_settings(model_catalogue=str(tmp_path / "none.toml")))
