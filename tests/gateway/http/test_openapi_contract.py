"""Schemathesis against the gateway's own OpenAPI document, with all of its checks: what the page says is what the service does."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.openapi import from_dict
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.http.openapi import EXAMPLES, document

# A stream of events has no end to wait for; tests/gateway/events holds it to its page.
schema = from_dict(document()).exclude(path="/api/events/stream")


@schema.auth()
class DeviceToken:
    """Puts a device's token on every case that is not about having none."""

    current = ""

    def get(self, case: schemathesis.Case[Any], context: schemathesis.AuthContext) -> str:
        return DeviceToken.current

    def set(self, case: schemathesis.Case[Any], data: str, context: schemathesis.AuthContext) -> None:
        case.headers["Authorization"] = f"Bearer {data}"


@pytest.fixture(scope="module", autouse=True)
def device(gateway: GatewayProcess) -> None:
    DeviceToken.current = paired_device(gateway.url).token


# Rules that JSON Schema has no words for. There a 400 to a body that the schema allows is right, if it names the field at fault.
BEYOND_JSON_SCHEMA = {
    "DELETE /api/account": "confirm is the account's own id",
    "GET /api/conversations/{conversation_id}/messages": "a cursor is one that a page gave",
    "POST /api/sync/messages": "times lie between 1970 and 2199, and a guid stands for one message",
    "POST /api/training/samples/import": "times lie between 1970 and 2199",
    "POST /api/training/start": "the account has enough samples, and the model is in the catalogue",
}


@schema.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.generate],
)
def test_does_what_its_page_says(case: schemathesis.Case[Any], gateway: GatewayProcess) -> None:
    answer = case.call(base_url=gateway.url)

    names_a_field = answer.status_code == 400 and "details" in answer.json()
    refused_by_rule = names_a_field and case.operation.label in BEYOND_JSON_SCHEMA
    case.validate_response(answer, excluded_checks=[positive_data_acceptance] if refused_by_rule else [])
