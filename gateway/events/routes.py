from http import HTTPStatus
from typing import Annotated, Any

from litestar import Controller, Response, WebSocket, get, websocket
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import HeaderParameter, QueryParameter

from gateway.auth.authentication import CallerToken
from gateway.auth.websockets import refusals
from gateway.events.hub import EventHub
from gateway.events.journal import Position, parse_position
from gateway.events.schemas import Event
from gateway.events.streaming import EventStream, serve_socket
from gateway.http.openapi import errors
from shared.asgi import current_request_id
from shared.errors import BadRequest, error_body

_POSITION = r"^[0-9]{1,15}(-[0-9]{1,15})?$"

AfterQuery = Annotated[
    str | None,
    QueryParameter(
        name="after", pattern=_POSITION, description="The last event that you have: what came after it comes first. 0: all that is kept."
    ),
]
LastEventId = Annotated[
    str | None,
    HeaderParameter(name="Last-Event-ID", pattern=_POSITION, description="As `after`, and goes before it; browsers send it by themselves."),
]
TokensQuery = Annotated[
    bool, QueryParameter(name="tokens", description="Also `response:token`, the pieces of drafts while they are written.")
]

_STREAM = {
    200: ResponseSpec(
        data_container=Event,
        media_type="text/event-stream",
        description="Events. Each event's name is its `type`, its `id` is the envelope's, its data is this envelope.",
        generate_examples=False,
    )
}
_FLAGS = {"true": True, "1": True, "false": False, "0": False, "": False}
_USE_A_SOCKET = "This address is a WebSocket; the same events as a plain stream are at /api/events/stream"


class EventController(Controller):
    path = "/api/events"
    tags = ("events",)

    @websocket("/")
    async def listen(self, socket: WebSocket[Any, Any, Any], caller_token: CallerToken, events: NamedDependency[EventHub]) -> None:
        query = socket.query_params
        async with refusals(socket):  # of parameters, too, which the framework would refuse in a way of its own
            after = _position(socket.headers.get("last-event-id"), query.get("after"))
            async with events.subscribed(caller_token, after=after, wants_tokens=_flag(query.get("tokens", ""))) as subscription:
                await serve_socket(socket, subscription)

    @get("/", include_in_schema=False)
    async def explain(self) -> Response[dict[str, Any]]:
        """Somebody opened the WebSocket's address with plain HTTP."""
        body = error_body(HTTPStatus.UPGRADE_REQUIRED, _USE_A_SOCKET, current_request_id())
        return Response(body, status_code=HTTPStatus.UPGRADE_REQUIRED, headers={"Upgrade": "websocket", "Connection": "Upgrade"})

    @get("/stream", summary="Live events", responses={**_STREAM, **errors(400, 401, 403, 429, 503)})
    async def stream(
        self,
        caller_token: CallerToken,
        events: NamedDependency[EventHub],
        tokens: TokensQuery = False,
        after: AfterQuery = None,
        last_event_id: LastEventId = None,
    ) -> EventStream:
        """What happens in the account, on whichever device, as server-sent events; the same over a WebSocket at `/api/events`.

        Every event of the last hour can be had again: come back with the last id. If that is not known any more, `replay:incomplete` says
        so, and all that is known follows. A comment comes every 20 seconds. The last event of a stream that ends here is `stream:closed`,
        with why.

        The WebSocket takes the token in the `Authorization` header or, from browsers, as the second of the subprotocols `bearer` and the
        token; it takes `after` and `tokens` too. It closes with 1001 (the gateway stops), 4401 (token expired or void), 4403 (device
        deactivated) or 4408 (events were not read fast enough).
        """
        position = _position(last_event_id, after)
        return EventStream(lambda: events.subscribed(caller_token, after=position, wants_tokens=tokens))


def _position(last_event_id: str | None, after: str | None) -> Position | None:
    """Where a reader wants to go on; None: now. The header is newer: browsers repeat the address, and add it when they come back."""
    for name, text in (("Last-Event-ID", last_event_id), ("after", after)):
        if text:
            position = parse_position(text)
            if position is None:
                raise BadRequest.field(name, "must be the id of an event, such as 1735689600000-0, or 0 for all of the last hour")
            return position
    return None


def _flag(text: str) -> bool:
    if text.lower() not in _FLAGS:
        raise BadRequest.field("tokens", "must be true or false")
    return _FLAGS[text.lower()]
