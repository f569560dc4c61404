"""`POST /generate`: an answer at once, or as a stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from ml_service.api.documentation import errors
from ml_service.api.streaming import EventStream, while_connected
from ml_service.errors import body_of
from ml_service.generation import GenerationService
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.errors import AppError
from shared.sse import ServerSentEvent, render

EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["event", "data"],
    "properties": {
        "event": {"enum": ["token", "completed", "failed"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
}
STREAM: dict[str, Any] = {
    "description": "The answer; with `stream` as events: `token` (TokenEvent) …, then exactly one `completed` (GenerateResponse) or "
    "`failed` (ErrorBody).",
    "content": {"text/event-stream": {"schema": EVENT}},
}


def generation_routes(service: GenerationService) -> APIRouter:
    router = APIRouter(tags=["generation"])

    @router.post("/generate", response_model=GenerateResponse, responses={200: STREAM, **errors(400, 404, 409, 413, 503)})
    async def generate(request: Request, body: GenerateRequest) -> Response:
        """Generate an answer to a prompt or a conversation.

        A prompt must leave room for `max_tokens` in the model's context window. Leaving before the end aborts the generation.
        """
        if body.stream:
            return await EventStream.begin(request, _server_sent(service.stream(body)))
        answer = await while_connected(request.receive, service.generate(body))
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return router


async def _server_sent(answer: AsyncGenerator[TokenEvent | GenerateResponse, None]) -> AsyncGenerator[bytes, None]:
    """Token events, then exactly one `completed` or `failed`; what fails before the first event is raised."""
    begun = False
    async with aclosing(answer):
        try:
            async for part in answer:
                yield render(ServerSentEvent("token" if isinstance(part, TokenEvent) else "completed", msgspec.json.encode(part)))
                begun = True
        except AppError as error:
            if not begun:
                raise
            yield render(ServerSentEvent("failed", body_of(error)))
