"""A conversation over a WebSocket: what the client asks for, and what it is told of the log."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
import structlog
from litestar import WebSocket
from litestar.exceptions import WebSocketDisconnect
from msgspec import Meta, Struct

from gateway.auth.authentication import Authenticator
from gateway.auth.tokens import VerifiedToken
from gateway.auth.websockets import accepted_subprotocol
from gateway.events.subscription import TOKEN_VOID, Ending, ending_of
from gateway.wire import utc_now
from gateway.workspace.files.project import Project
from gateway.workspace.queries import Conversation, Entry
from gateway.workspace.schemas import ErrorCode, conversation_usage
from gateway.workspace.service import LOOK_SECONDS, WorkspaceService, message_meta
from shared.errors import AppError, BadRequest, Conflict, Forbidden, Unavailable
from shared.ids import new_id

SEND_SECONDS: Final = 20.0
_QUIET_SECONDS: Final = 5.0
"""How often a socket on which nothing runs looks whether a newer one has taken its place."""
_TOKEN_SECONDS: Final = 1.0
"""How often it is asked whether the socket's token is still good."""
_CLOSE_SECONDS: Final = 1.0
_REPLACED: Final = Ending(1000, "New connection established")

_logger = structlog.get_logger(__name__)


class Asked(Struct, frozen=True, rename="camel"):
    """What a client sends. `stream`: also pieces of the answer while it is written."""

    task: Literal["greeting", "converse", "cancel"]
    statement: Annotated[str, Meta(max_length=100_000)] = ""
    start_dir: Annotated[str, Meta(max_length=4_000)] = ""
    stream: bool = False


class ConversationSocket:
    """One open socket. Three tasks share it: one hears the client, one tells it what the log says, one sees that its token stays good."""

    def __init__(
        self, socket: WebSocket[Any, Any, Any], service: WorkspaceService, authenticator: Authenticator, token: VerifiedToken, name: str
    ) -> None:
        self._socket = socket
        self._service = service
        self._authenticator = authenticator
        self._token = token
        self._account_id = token.principal.account_id
        self._name = name
        self._id = new_id()
        self._conversation: Conversation | None = None
        self._project: Project | None = None
        self._told: UUID | None = None
        """The last entry of the log that the client was told."""
        self._stream = False
        self._answer_told = 0
        self._known = asyncio.Event()
        """Set once it is known which conversation this is about."""

    async def serve(self) -> None:
        """Until either side closes it. A statement that runs then goes on."""
        await self._socket.accept(subprotocols=accepted_subprotocol(self._socket.scope))
        tasks = [asyncio.create_task(each) for each in (self._tell(), self._hear(), self._watch())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Ending):
                with suppress(WebSocketDisconnect, OSError, TimeoutError):
                    async with asyncio.timeout(_CLOSE_SECONDS):
                        await self._socket.close(code=outcome.code, reason=outcome.reason)
                return
            if isinstance(outcome, Exception) and not isinstance(outcome, WebSocketDisconnect | OSError | TimeoutError):
                _logger.error("workspace socket failed", exc_info=outcome)

    async def _watch(self) -> Ending:
        """Wait until the token is good no more: it has expired, or its device was deactivated."""
        while True:
            if ending := await self._token_ending():
                return ending
            await asyncio.sleep(_TOKEN_SECONDS)

    async def _token_ending(self) -> Ending | None:
        if self._token.expires_at <= utc_now():
            return TOKEN_VOID
        try:
            [refusal] = await self._authenticator.refusals([self._token])
        except Unavailable:
            return None
        return ending_of(refusal) if refusal is not None else None

    async def _hear(self) -> Ending:
        while True:
            message = await self._socket.receive_text()
            if ending := await self._token_ending():  # nothing is begun for a device that was deactivated a moment ago
                return ending
            try:
                asked = msgspec.json.decode(message, type=Asked)
            except (msgspec.MsgspecError, UnicodeError, RecursionError):
                await self._send_plain({"error": "Invalid message format"})
                continue
            await self._answer(asked)

    async def _answer(self, asked: Asked) -> None:
        code: ErrorCode = "STATEMENT_ERROR"
        try:
            match asked.task:
                case "greeting":
                    code = "INVALID_START_DIR"
                    await self._open(asked.start_dir)
                    await self._ready()
                case "converse":
                    code = "INVALID_START_DIR"
                    if not asked.statement.strip():
                        await self._error("Missing statement", "EMPTY_PROMPT")
                        return
                    await self._open(asked.start_dir)
                    await self._converse(asked)
                case "cancel":
                    code = "CANCELLATION_ERROR"
                    await self._cancel()
        except Conflict as error:
            await self._error(error.message, "CONVERSATION_IN_USE")
        except (BadRequest, Forbidden) as error:
            await self._error(error.message, "START_DIR_REQUIRED" if not asked.start_dir and asked.task != "cancel" else code)
        except AppError as error:
            await self._error(error.message, "STATEMENT_ERROR" if asked.task == "converse" else "INTERNAL_ERROR")

    async def _open(self, start_dir: str) -> None:
        """Find the conversation, or make it; from then on this is its one socket."""
        project = self._service.project(start_dir)
        self._conversation = await self._service.find_or_add(self._account_id, self._name, project)
        self._project = project
        if not self._known.is_set():
            await self._service.take_socket(self._conversation, self._id)

    async def _ready(self) -> None:
        """Tell where the conversation is; what comes after that is told step by step."""
        assert self._conversation is not None
        entries = await self._service.entries(self._conversation)
        self._told = entries[-1].id if entries else None
        await self._send(
            "conversationReady",
            {
                "conversationId": self._name,
                "conversationTitle": self._conversation.title,
                "timestamp": utc_now(),
                "conversationStats": self._conversation.stats,
                "tokenUsageConversation": conversation_usage(self._conversation.usage),
                "conversationHistory": [each.logged for each in entries],
            },
        )
        self._known.set()

    async def _converse(self, asked: Asked) -> None:
        assert self._conversation is not None
        assert self._project is not None
        await self._ready()
        self._stream = asked.stream
        await self._service.statements.begin(self._conversation, self._project, asked.statement)

    async def _cancel(self) -> None:
        if self._conversation is None:
            await self._error("No conversation is open here; send a greeting first", "NO_ACTIVE_CONVERSATION")
        elif not await self._service.statements.cancel(self._conversation):
            await self._error("No statement runs on this conversation", "NO_ACTIVE_CONVERSATION")

    async def _tell(self) -> Ending:
        """Tell the client what is new in the log, until a newer socket takes this one's place."""
        await self._known.wait()
        assert self._conversation is not None
        with self._service.statements.news(self._conversation.id) as changed:
            while True:
                conversation = await self._service.reread(self._conversation)
                if conversation is None or conversation.socket_id != self._id:
                    return _REPLACED
                self._conversation = conversation
                for entry in await self._service.entries(conversation, after=self._told):
                    await self._tell_entry(conversation, entry)
                    self._told = entry.id
                if self._stream:
                    await self._tell_answer(conversation)
                await changed(LOOK_SECONDS if conversation.statement_id else _QUIET_SECONDS)

    async def _tell_entry(self, conversation: Conversation, entry: Entry) -> None:
        self._answer_told = 0
        if entry.kind == "cancelled":
            await self._send("conversationCancelled", {"conversationId": self._name, "message": "Operation cancelled"})
        elif entry.kind == "error":
            await self._error(str(entry.entry.content), entry.code or "STATEMENT_ERROR")
        else:
            step = {
                "timestamp": entry.created_at,
                "conversationId": self._name,
                "conversationTitle": conversation.title,
                "logEntry": msgspec.structs.replace(entry.entry, thinking=msgspec.UNSET),
                "conversationStats": entry.counts.conversation_stats,
                "tokenUsageTurn": entry.counts.token_usage_turn,
                "tokenUsageStatement": entry.counts.token_usage_statement,
                "tokenUsageConversation": entry.counts.token_usage_conversation,
            }
            if entry.kind == "answer":
                thinking = entry.entry.thinking
                step |= {
                    "response": entry.entry.content,
                    "answer": entry.entry.content,
                    "assistantThinking": thinking if isinstance(thinking, str) else "",
                    "messageMeta": message_meta(conversation, entry),
                }
            await self._send("conversationAnswer" if entry.kind == "answer" else "conversationContinue", step)

    async def _tell_answer(self, conversation: Conversation) -> None:
        """Pieces of an answer that is being written here; it comes whole in the end."""
        answer = self._service.statements.answer_so_far(conversation.id)
        if len(answer) <= self._answer_told:
            return
        piece, self._answer_told = answer[self._answer_told :], len(answer)
        await self._send(
            "conversationContinue",
            {
                "timestamp": utc_now(),
                "conversationId": self._name,
                "conversationTitle": conversation.title,
                "logEntry": {"entryType": "assistant", "content": piece, "partial": True},
                "conversationStats": conversation.stats,
                "tokenUsageConversation": conversation_usage(conversation.usage),
            },
        )

    async def _error(self, message: str, code: str) -> None:
        await self._send("conversationError", {"conversationId": self._name, "error": message, "code": code})

    async def _send(self, kind: str, data: Mapping[str, Any]) -> None:
        await self._send_plain({"type": kind, "data": data})

    async def _send_plain(self, message: Mapping[str, Any]) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            await self._socket.send_text(msgspec.json.encode(message).decode())
