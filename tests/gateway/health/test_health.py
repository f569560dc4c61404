import httpx

from tests.fixtures.gateway import GatewayProcess


def test_is_alive_and_says_what_is_away(gateway: GatewayProcess) -> None:
    assert httpx.get(f"{gateway.url}/health/live").json() == {"status": "alive"}

    ready = httpx.get(f"{gateway.url}/health/ready")

    assert ready.status_code == 200
    assert ready.json() == {"status": "degraded", "database": True, "redis": True, "mlService": False}


def test_an_unknown_address_is_404_in_the_documented_form(gateway: GatewayProcess) -> None:
    answer = httpx.get(f"{gateway.url}/nowhere", headers={"X-Request-Id": "abc-1"})

    assert answer.status_code == 404
    assert answer.headers["X-Request-Id"] == "abc-1"
    assert answer.json() == {
        "statusCode": 404,
        "message": "There is nothing at this address",
        "error": "Not Found",
        "requestId": "abc-1",
    }


def test_the_documentation_needs_no_internet(gateway: GatewayProcess) -> None:
    page = httpx.get(f"{gateway.url}/docs")

    assert page.status_code == 200
    assert "https://" not in page.text.split("</head>")[0]
    assert httpx.get(f"{gateway.url}/docs-assets/swagger-ui-bundle.js").status_code == 200
