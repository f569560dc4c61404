"""`POST /generate`: an answer at once, or as a stream."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response

from ml_service.api.documentation import errors
from ml_service.errors import body_of
from ml_service.generation import GenerationService
from shared import sse
from shared.asgi import AsgiScope, Receive, Send, while_connected
from shared.contracts.generation import GenerateRequest, GenerateResponse, TokenEvent
from shared.errors import AppError

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
        async with while_connected(request.receive):
            if body.stream:
                events = _rendered(service.stream(body))
                return EventStream(await anext(events), events)  # what fails before the first event is an ordinary error
            answer = await service.generate(body)
        return Response(msgspec.json.encode(answer), media_type="application/json")

    return router


async def _rendered(answer: AsyncGenerator[TokenEvent | GenerateResponse, None]) -> AsyncGenerator[bytes, None]:
    """An answer as server-sent events. What is wrong before the first one is raised, and later it is the last one."""
    begun = False
    async with aclosing(answer):
        try:
            async for part in answer:
                name = "completed" if isinstance(part, GenerateResponse) else "token"
                yield sse.render(sse.ServerSentEvent(name, msgspec.json.encode(part)))
                begun = True
        except AppError as error:
            if not begun:
                raise
            yield sse.render(sse.ServerSentEvent("failed", body_of(error)))


class EventStream(Response):
    """Server-sent events; they end when the client leaves."""

    def __init__(self, first: bytes, rest: AsyncGenerator[bytes, None]) -> None:
        super().__init__()
        self.raw_headers = list(sse.HEADERS)
        self._first = first
        self._rest = rest

    async def __call__(self, asgi_scope: AsgiScope, receive: Receive, send: Send) -> None:
        async with aclosing(self._rest), while_connected(receive):
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": self._first, "more_body": True})
            async for event in self._rest:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
