from uuid import uuid4

import httpx
import pytest

from tests.factories import NO_TLS, Device, own_rows, paired_device
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import MODEL
from tests.fixtures.waiting import eventually
from tests.gateway.conftest import METRICS_TOKEN
from tests.gateway.responses.situations import drafted, received


def metrics(gateway: GatewayProcess, authorization: str = f"Bearer {METRICS_TOKEN}") -> httpx.Response:
    return httpx.get(f"{gateway.url}/metrics", headers={"Authorization": authorization}, verify=NO_TLS)


def test_without_a_token_in_the_settings_there_is_nothing(gateway: GatewayProcess) -> None:
    assert metrics(gateway).status_code == 404


@pytest.mark.parametrize("authorization", ["", "Bearer", "Bearer wrong", METRICS_TOKEN])
def test_without_the_right_token_there_is_nothing(second_gateway: GatewayProcess, authorization: str) -> None:
    answer = metrics(second_gateway, authorization)

    assert answer.status_code == 404
    assert answer.json()["message"] == httpx.get(f"{second_gateway.url}/nothing", verify=NO_TLS).json()["message"]


def test_requests_are_counted_by_method_template_and_status_never_by_path(gateway: GatewayProcess, second_gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    unknown = uuid4()
    httpx.post(f"{second_gateway.url}/api/devices/{unknown}/deactivate", headers=device.client.headers, verify=NO_TLS)
    httpx.get(f"{second_gateway.url}/nowhere/{unknown}", verify=NO_TLS)
    httpx.request("PROPFIND", f"{second_gateway.url}/nowhere", verify=NO_TLS)

    count = "gateway_request_duration_seconds_count"
    counted = [
        f'{count}{{method="POST",route="/api/devices/{{device_id}}/deactivate",status="404"}} ',
        f'{count}{{method="GET",route="none",status="404"}} ',
        f'{count}{{method="other",route="none",status="404"}} ',
    ]
    eventually(lambda: all(line in metrics(second_gateway).text for line in counted))  # a request is counted once it was answered
    text = metrics(second_gateway).text
    assert str(unknown) not in text
    assert "PROPFIND" not in text


def test_the_pool_and_the_process_are_there(second_gateway: GatewayProcess) -> None:
    text = metrics(second_gateway).text

    assert 'gateway_database_connections{state="limit"} 10.0' in text
    assert "gateway_event_readers 0.0" in text
    assert "process_resident_memory_bytes" in text


def test_trainings_and_adapters_in_use_are_counted_over_all_gateways(
    gateway: GatewayProcess, second_gateway: GatewayProcess, database_url: str
) -> None:
    before = figures(metrics(second_gateway).text)
    adapter_id = own_rows(database_url, paired_device(gateway.url))["adapter_id"]
    rows(database_url, "update adapter set active = true where id = $1", adapter_id)

    after = figures(metrics(second_gateway).text)

    grown = {name: after[name] - before[name] for name in after if name.startswith(("gateway_training", "gateway_active"))}
    assert {name for name, growth in grown.items() if growth} == {'gateway_training_jobs{status="completed"}', "gateway_active_adapters"}
    assert len(grown) == 7


def test_what_owners_do_with_drafts_is_counted_by_the_base_model_once(owner: Device, second_gateway: GatewayProcess) -> None:
    response_id = drafted(owner, received(owner))["responseId"]
    url = f"{second_gateway.url}/api/responses/{response_id}/action"
    before = figures(metrics(second_gateway).text)

    for _ in range(2):
        httpx.post(url, json={"action": "accept"}, headers=owner.client.headers, verify=NO_TLS).raise_for_status()

    name = f'gateway_drafts_judged_total{{action="accept",base_model="{MODEL}",personal="no"}}'
    assert figures(metrics(second_gateway).text)[name] == before.get(name, 0) + 1


def figures(text: str) -> dict[str, float]:
    """By name and labels."""
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}
