import httpx
import pytest

from tests.fixtures.gateway import GatewayProcess

STRICT = "default-src 'none'; frame-ancestors 'none'"


@pytest.mark.parametrize("path", ["/health/live", "/api/conversations", "/nothing", "/api/v1/status"])
def test_no_answer_is_a_page_or_kept(gateway: GatewayProcess, path: str) -> None:
    headers = httpx.get(f"{gateway.url}{path}").headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"
    assert headers["content-security-policy"] == STRICT


def test_the_documentation_may_run_its_own_script_and_nobody_elses(gateway: GatewayProcess) -> None:
    headers = httpx.get(f"{gateway.url}/docs").headers
    assert "default-src 'self' 'unsafe-inline'" in headers["content-security-policy"]
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


def test_what_is_refused_before_it_is_read_has_them_too(gateway: GatewayProcess) -> None:
    answer = httpx.get(f"{gateway.url}/api/conversations", headers={"Host": "elsewhere.example"})
    assert answer.is_client_error
    assert answer.headers["x-content-type-options"] == "nosniff"
