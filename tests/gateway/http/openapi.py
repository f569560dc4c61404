"""The gateway's OpenAPI document, for tests that hold the gateway to it."""

import asyncio
import os
from typing import Any

import httpx

from gateway.app import create_app
from gateway.settings import Settings
from tests.fixtures.gateway import JWT_KEYS

# Enough to find in a minute what breaks easily; for a long hunt set SCHEMATHESIS_EXAMPLES to some hundreds.
EXAMPLES = int(os.environ.get("SCHEMATHESIS_EXAMPLES", "20"))


def document() -> dict[str, Any]:
    """The document as the app gives it; the app opens nothing for that."""

    async def fetch() -> dict[str, Any]:
        app = create_app(Settings(database_url="postgresql://nowhere", redis_url="redis://nowhere", jwt_keys=[JWT_KEYS])).app
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            return dict((await client.get("/openapi.json")).json())

    return asyncio.run(fetch())
