from http import HTTPStatus
from typing import Any

import httpx
import pytest
import structlog
from structlog.testing import LogCapture

from gateway.http.request_context import RequestContext
from ml_service.middleware import RequestContext as MlRequestContext

pytestmark = pytest.mark.anyio


async def refusing(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers with a status as the frameworks know it."""
    await send({"type": "http.response.start", "status": HTTPStatus.NOT_FOUND, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize("service", ["gateway", "ml_service"])
async def test_the_log_line_of_a_refused_request_has_the_statuss_number(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogCapture()
    logger = structlog.wrap_logger(None, processors=[log])
    monkeypatch.setattr("gateway.http.request_context._logger", logger)
    monkeypatch.setattr("ml_service.middleware.log", logger)
    apps: dict[str, Any] = {"gateway": RequestContext(refusing, lambda *_: None, nothing), "ml_service": MlRequestContext(refusing)}

    async with httpx.AsyncClient(transport=httpx.ASGITransport(apps[service]), base_url="http://localhost") as client:
        await client.get("/nothing")

    assert [repr(entry["status"]) for entry in log.entries if entry["event"] == "request"] == ["404"]


async def nothing() -> None:
    """No streams to end."""
