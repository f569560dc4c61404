from typing import Annotated
from uuid import UUID

from litestar import Controller, delete, get
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from gateway.auth.authentication import Caller
from gateway.conversations.schemas import Conversation, ConversationPage, FoundPage, MessagePage
from gateway.conversations.service import ConversationService
from gateway.http.openapi import errors
from gateway.http.parameters import PageQuery, PageSizeQuery
from gateway.wire import NO_NUL

NamePart = Annotated[
    str | None, QueryParameter(name="q", min_length=1, max_length=200, pattern=NO_NUL, description="Part of a thread's or person's name.")
]
Words = Annotated[
    str,
    QueryParameter(
        name="q",
        min_length=1,
        max_length=200,
        pattern=NO_NUL,
        description='Words; `"a phrase"`, `or`, `-not` work. In scripts without spaces any part of a text.',
    ),
]
ConversationFilter = Annotated[UUID | None, QueryParameter(name="conversationId", description="Only this thread.")]
MessagesPageSize = Annotated[int, QueryParameter(name="pageSize", ge=1, le=200, description="Rows a page.")]
Before = Annotated[
    str | None, QueryParameter(name="before", max_length=100, description="`nextCursor` of another page: what is older than that page.")
]


class ConversationController(Controller):
    path = "/api/conversations"
    tags = ("conversations",)

    @get("/", summary="List threads", responses=errors(400, 401, 403, 503))
    async def list(
        self,
        principal: Caller,
        conversations: NamedDependency[ConversationService],
        q: NamePart = None,
        page: PageQuery = 1,
        page_size: PageSizeQuery = 20,
    ) -> ConversationPage:
        """Latest first. `q` finds threads by their name and by the names, numbers and addresses of who is in them."""
        return await conversations.list(principal.account_id, q, page, page_size)

    @get("/{conversation_id:uuid}", summary="Get a thread", responses=errors(400, 401, 403, 404, 503))
    async def read(
        self, principal: Caller, conversations: NamedDependency[ConversationService], conversation_id: FromPath[UUID]
    ) -> Conversation:
        """As lists have it. The id of a thread that has become part of another one finds that one."""
        return await conversations.get(principal.account_id, conversation_id)

    @get("/{conversation_id:uuid}/messages", summary="Read a thread", responses=errors(400, 401, 403, 404, 503))
    async def messages(
        self,
        principal: Caller,
        conversations: NamedDependency[ConversationService],
        conversation_id: FromPath[UUID],
        page: PageQuery = 1,
        page_size: MessagesPageSize = 50,
        before: Before = None,
    ) -> MessagePage:
        """Newest first. To read far back take each page's `nextCursor` as the next one's `before`: that costs the same at any depth, and
        messages that come in meanwhile move nothing. Reactions are shown on their message, and are messages of their own too.
        """
        return await conversations.messages(principal.account_id, conversation_id, page, page_size, before)

    @delete("/{conversation_id:uuid}", summary="Delete a thread", responses=errors(400, 401, 403, 404, 503))
    async def delete(self, principal: Caller, conversations: NamedDependency[ConversationService], conversation_id: FromPath[UUID]) -> None:
        """With its messages, drafts and samples. Contacts stay. A client that syncs the thread again makes it anew."""
        await conversations.delete(principal.account_id, conversation_id)


class MessageController(Controller):
    path = "/api/messages"
    tags = ("conversations",)

    @get("/search", summary="Search messages", responses=errors(400, 401, 403, 503))
    async def search(
        self,
        principal: Caller,
        conversations: NamedDependency[ConversationService],
        q: Words,
        conversation_id: ConversationFilter = None,
        page: PageQuery = 1,
        page_size: PageSizeQuery = 20,
    ) -> FoundPage:
        """Messages that have all the words, newest first. Retracted messages are never found. A search that says only what to leave out is
        400, one that takes longer than two seconds 503.
        """
        return await conversations.search(principal.account_id, q, conversation_id, page, page_size)
