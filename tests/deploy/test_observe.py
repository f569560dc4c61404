"""The dashboard and the alerts name metrics, labels and values that there are."""

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.workers import WorkerProcess

FOLDER = Path(__file__).parents[2] / "deploy" / "observe"
TOKEN = "metrics-token-of-this-test"
_METRIC = re.compile(r"\b((?:gateway|ml|process|background|vllm)[_:][a-z_:]+)")
_PROMETHEUS_OWN = {"up"}
_OF_A_HISTOGRAM = ("_bucket", "_count", "_sum")


@pytest.fixture(scope="module")
def told(run_folder: Path, database_url: str, redis_url: str, ml_service: ScriptedMlService) -> dict[str, str]:
    """What all three kinds of process tell of: each metric's type by its name."""
    gateway = GatewayProcess(
        run_folder, database_url=database_url, redis_url=redis_url, ml_service_url=ml_service.url, metrics_token=TOKEN
    )  # fmt: skip
    port = free_port()
    worker = WorkerProcess(run_folder, redis_url=redis_url, ml_service_url=ml_service.url, metrics_port=str(port))
    for process in (gateway, worker):
        process.start()
    texts = [
        httpx.get(f"{gateway.url}/metrics", headers={"Authorization": f"Bearer {TOKEN}"}).raise_for_status().text,
        httpx.get(f"{ml_service.url}/metrics").raise_for_status().text,
        httpx.get(f"http://127.0.0.1:{port}/metrics").raise_for_status().text,
    ]
    for process in (gateway, worker):
        process.stop()
    lines = [line.split() for text in texts for line in text.splitlines() if line.startswith("# TYPE")]
    return {name: kind for _, _, name, kind in lines}


def expressions() -> list[tuple[str, str]]:
    """Every query with the place where it stands."""
    dashboard: dict[str, Any] = json.loads((FOLDER / "grafana" / "dashboards" / "conversation-assistant.json").read_text())
    found = [(panel["title"], target["expr"]) for panel in dashboard["panels"] for target in panel.get("targets", [])]
    for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            found.append((rule["alert"], rule["expr"]))
            found.append((rule["alert"], rule["annotations"]["description"]))
    return found


def test_every_metric_that_is_named_exists(told: dict[str, str]) -> None:
    missing = {(place, name) for place, text in expressions() for name in _METRIC.findall(text) if not exists(name, told)}
    assert missing == set()


def exists(name: str, told: dict[str, str]) -> bool:
    if name.startswith("vllm:"):
        return f'"{name.removesuffix("_total")}"' in vllm_loggers()
    if name in told:
        return told[name] != "histogram"
    base = next((name.removesuffix(suffix) for suffix in _OF_A_HISTOGRAM if name.endswith(suffix)), name)
    return told.get(base) in ("histogram", "summary")


def vllm_loggers() -> str:
    """The source in which vLLM names its metrics; its CPU build and its GPU build have the same."""
    spec = find_spec("vllm")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "v1" / "metrics" / "loggers.py").read_text()


def test_each_panel_says_what_it_shows() -> None:
    dashboard = json.loads((FOLDER / "grafana" / "dashboards" / "conversation-assistant.json").read_text())
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert len(panels) > 10
    assert all(panel["description"] and panel["targets"] for panel in panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]]
    assert len(set(places)) == len(places)


def test_each_alert_says_what_to_do() -> None:
    rules = [rule for group in yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules)
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]
