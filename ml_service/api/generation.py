"""`POST /generate`: an answer at once, or as a stream."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from ml_service.api.documentation import errors
from ml_service.api.streaming import EventStream, while_connected
from ml_service.generation import GenerationService
from shared.contracts.generation import GenerateRequest, GenerateResponse

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
            return await EventStream.begin(request, service.events(body))
        answer = await while_connected(request.receive, service.generate(body))
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return router
