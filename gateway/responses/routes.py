from typing import Annotated, Any
from uuid import UUID

from litestar import Controller, Request, Response, get, post
from litestar.datastructures import Headers
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from gateway.auth.authentication import Caller
from gateway.auth.principal import Principal
from gateway.http.openapi import StreamedOperation, errors
from gateway.http.parameters import PageQuery, PageSizeQuery
from gateway.idempotency.middleware import IDEMPOTENT, id_to_create
from gateway.responses.feedback import FeedbackService
from gateway.responses.queueing import DraftQueue
from gateway.responses.schemas import (
    Action,
    ActionResult,
    Draft,
    DraftDetails,
    DraftPage,
    GenerateBody,
    QueuedDraft,
    ResponseStatus,
)
from gateway.responses.service import ResponseService
from gateway.responses.streaming import DraftStream
from shared import sse
from shared.asgi import while_connected

ConversationQuery = Annotated[UUID | None, QueryParameter(name="conversationId", description="Only drafts of this conversation.")]
PreferHeader = Annotated[
    str | None,
    HeaderParameter(name="Prefer", description="`respond-async` (RFC 7240): answer at once, and write the draft when its turn comes."),
]
StatusQuery = Annotated[ResponseStatus | None, QueryParameter(name="status", description="Only drafts in this state.")]

_ASYNC = "respond-async"
_ACCEPTED = {
    202: ResponseSpec(data_container=QueuedDraft, description="Accepted, to `Prefer: respond-async`", generate_examples=False),
}


class ResponseController(Controller):
    path = "/api/responses"
    tags = ("responses",)

    @post(
        "/generate",
        status_code=200,
        summary="Draft a reply",
        operation_class=StreamedOperation,
        opt=IDEMPOTENT,
        responses={**_ACCEPTED, **errors(400, 401, 403, 404, 409, 413, 422, 429, 503)},
    )
    async def generate(
        self,
        request: Request[Principal, Any, Any],
        responses: NamedDependency[ResponseService],
        draft_queue: NamedDependency[DraftQueue],
        data: JSONBody[GenerateBody],
        prefer: PreferHeader = None,
    ) -> Response[Draft] | Response[QueuedDraft]:
        """Draft an answer to an incoming text message, in the owner's voice. Waits until the draft is there; closing the connection
        aborts it. `Cache-Control: no-cache` asks for a new draft even if the same was asked before.

        With `Accept: text/event-stream` the draft comes as server-sent events: `token` (`{"text", "index"}`) …, then exactly one of
        `completed` (the same body), `failed` (an error body) and `cancelled` (the same body without a text).

        `status` is `cancelled`, and there is no text, if the draft was cancelled or the message retracted meanwhile.

        With `Prefer: respond-async` the answer comes at once: 202, with the address of the draft in `Location`. The draft is written when
        its turn comes, whatever breaks down meanwhile; `/api/events` tells of it, and it can be asked for. 503 if too many wait already.
        """
        fresh = "no-cache" in _listed(request.headers, "cache-control")  # RFC 9111 section 5.2.1.4: a stored answer will not do
        if sse.CONTENT_TYPE in _listed(request.headers, "accept"):
            return DraftStream(responses.stream(request.user, data, fresh=fresh))
        if prefer is not None and _ASYNC in _listed(request.headers, "prefer"):
            queued = await draft_queue.accept(request.user, data, fresh=fresh, draft_id=id_to_create(request.scope))
            headers = {"Location": f"/api/responses/{queued.response_id}", "Preference-Applied": _ASYNC}
            return Response(queued, status_code=202, headers=headers)
        async with while_connected(request.receive):
            return Response(await responses.generate(request.user, data, fresh=fresh))

    @get("/{response_id:uuid}", summary="Get a draft", responses=errors(400, 401, 403, 404, 503))
    async def read(self, principal: Caller, responses: NamedDependency[ResponseService], response_id: FromPath[UUID]) -> DraftDetails:
        """A draft in whatever state it is, and what was done with it."""
        return await responses.get(principal.account_id, response_id)

    @get("/", summary="List drafts", responses=errors(400, 401, 403, 503))
    async def list(
        self,
        principal: Caller,
        responses: NamedDependency[ResponseService],
        conversation_id: ConversationQuery = None,
        status: StatusQuery = None,
        page: PageQuery = 1,
        page_size: PageSizeQuery = 20,
    ) -> DraftPage:
        """All of the account's drafts, newest first."""
        return await responses.list(principal.account_id, conversation_id, status, page, page_size)

    @post("/{response_id:uuid}/cancel", status_code=200, summary="Stop a draft", responses=errors(400, 401, 403, 404, 409, 503))
    async def cancel(self, principal: Caller, responses: NamedDependency[ResponseService], response_id: FromPath[UUID]) -> DraftDetails:
        """Stops it in the model within a second, whichever device asked for it. 409 if it has ended already."""
        return await responses.cancel(principal.account_id, response_id)

    @post(
        "/{response_id:uuid}/action",
        status_code=200,
        summary="Accept, edit or reject a draft",
        opt=IDEMPOTENT,
        responses=errors(400, 401, 403, 404, 409, 413, 422, 503),
    )
    async def act(
        self, principal: Caller, feedback: NamedDependency[FeedbackService], response_id: FromPath[UUID], data: JSONBody[Action]
    ) -> ActionResult:
        """Tells the assistant whether it found the owner's voice, and makes a training sample of it. The same action again gives the
        same answer; another one, or one on an unfinished draft, is 409.
        """
        return await feedback.act(principal.account_id, response_id, data)


def _listed(headers: Headers, name: str) -> list[str]:
    """What a header lists, in lower case and without parameters (RFC 9110 section 5.6.1, RFC 7240 section 2)."""
    return [each.partition(";")[0].strip().lower() for value in headers.getall(name, []) for each in value.split(",")]
