from typing import Annotated, Any

import msgspec
from litestar import Controller, Request, Response, WebSocket, delete, get, post, websocket
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, ValidationException
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, JSONBody, QueryParameter

from gateway.auth.authentication import PUBLIC, Authenticator, Caller, CallerToken
from gateway.auth.websockets import refusals
from gateway.errors import EXCEPTION_HANDLERS
from gateway.http.openapi import NO_TOKEN
from gateway.workspace.files.project import PathRefused
from gateway.workspace.schemas import (
    CommandBody,
    CommandResult,
    ConversationDetails,
    ConversationList,
    Done,
    ErrorAnswer,
    ExternalBody,
    ExternalContent,
    FileNames,
    FilesInContext,
    LoggedEntry,
    Logs,
    StatementAnswer,
    StatementBody,
    Status,
    Undone,
    UsageAnswer,
)
from gateway.workspace.service import WorkspaceService
from gateway.workspace.websocket import ConversationSocket
from shared.asgi import while_connected
from shared.errors import AppError, BadRequest, error_headers

Service = NamedDependency[WorkspaceService]
StartDir = Annotated[str | None, QueryParameter(name="startDir", max_length=4_000, description="A folder of the project; needed.")]
PageQuery = Annotated[int, QueryParameter(name="page", ge=1, le=1_000_000)]
PageSizeQuery = Annotated[int | None, QueryParameter(name="pageSize", ge=1, le=100)]
LimitQuery = Annotated[int | None, QueryParameter(name="limit", ge=1, le=100, description="As pageSize.")]
StartDate = Annotated[str | None, QueryParameter(name="startDate", max_length=40)]
EndDate = Annotated[str | None, QueryParameter(name="endDate", max_length=40, description="A bare date means that whole day.")]
ProviderName = Annotated[str | None, QueryParameter(name="llmProviderName", max_length=100)]
FileNameQuery = Annotated[str, QueryParameter(name="fileName", min_length=1, max_length=1_000)]


def _errors(*statuses: int) -> dict[int, ResponseSpec]:
    return {status: ResponseSpec(data_container=ErrorAnswer, description="Error", generate_examples=False) for status in statuses}


def _answer(status: int, error: str, details: Any = None, headers: dict[str, str] | None = None) -> Response[ErrorAnswer]:
    return Response(ErrorAnswer(error=error, details=details), status_code=status, headers=headers, media_type="application/json")


def _app_error(_: Request[Any, Any, Any], error: AppError) -> Response[ErrorAnswer]:
    return _answer(error.status, error.message, headers=error_headers(error))


def _refused_path(_: Request[Any, Any, Any], error: PathRefused) -> Response[ErrorAnswer]:
    return _answer(400, str(error))


def _framework_error(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """What the gateway's own renderer says, in this API's form."""
    kind = next(each for each in type(error).__mro__ if each in EXCEPTION_HANDLERS)
    rendered = EXCEPTION_HANDLERS[kind](request, error)
    body: dict[str, Any] = rendered.content
    return _answer(rendered.status_code, body["message"], body.get("details"), dict(rendered.headers))


class WorkspaceController(Controller):
    """Conversations with a model about a project's folder."""

    path = "/api/v1"
    tags = ("workspace",)
    exception_handlers = {  # noqa: RUF012 - the framework's way
        AppError: _app_error,
        PathRefused: _refused_path,
        ValidationException: _framework_error,
        HTTPException: _framework_error,
        Exception: _framework_error,
    }

    @get("/status", summary="Does the API answer?", opt=PUBLIC, security=NO_TOKEN)
    async def status(self) -> Status:
        return Status()

    @get("/conversation", summary="List conversations", responses=_errors(400, 401, 403, 503))
    async def list(
        self,
        principal: Caller,
        workspace: Service,
        start_dir: StartDir = None,
        page: PageQuery = 1,
        page_size: PageSizeQuery = None,
        limit: LimitQuery = None,
        start_date: StartDate = None,
        end_date: EndDate = None,
        provider: ProviderName = None,
    ) -> ConversationList:
        """Those about a project, the last changed one first."""
        return await workspace.conversations(
            principal.account_id,
            workspace.project(start_dir),
            page=page,
            page_size=page_size or limit or 10,
            start_date=start_date,
            end_date=end_date,
            provider=provider,
        )

    @get("/conversation/{name:str}", summary="Get a conversation", responses=_errors(400, 401, 403, 404, 503))
    async def read(self, principal: Caller, workspace: Service, name: FromPath[str], start_dir: StartDir = None) -> ConversationDetails:
        found = await workspace.find(principal.account_id, name, workspace.project(start_dir))
        return await workspace.details(found)

    @post("/conversation/{name:str}", summary="Say something", status_code=200, responses=_errors(400, 401, 403, 404, 409, 413, 503))
    async def say(
        self, request: Request[Any, Any, Any], principal: Caller, workspace: Service, name: FromPath[str], data: JSONBody[StatementBody]
    ) -> Response[Any]:
        """Waits for the answer. An id that is not known makes a conversation of it. 409 while another statement runs on it."""
        workspace.check_open()
        if not data.statement or not data.statement.strip():
            raise BadRequest("Missing statement")
        if not data.start_dir:
            raise BadRequest("Missing startDir")
        project = workspace.project(data.start_dir)
        try:
            async with while_connected(request.receive):
                answer: StatementAnswer = await workspace.say(principal.account_id, name, project, data.statement)
        except AppError as error:
            if error.status != 503:
                raise
            return _answer(503, "Failed to generate response", error.message, error_headers(error))
        return Response(answer)

    @delete("/conversation/{name:str}", summary="Delete a conversation", status_code=200, responses=_errors(400, 401, 403, 404, 503))
    async def remove(self, principal: Caller, workspace: Service, name: FromPath[str], start_dir: StartDir = None) -> Done:
        """For good, with the book of its changes; files stay as they are."""
        await workspace.delete(await workspace.find(principal.account_id, name, workspace.project(start_dir)))
        return Done(message=f"Conversation {name} deleted")

    @post(
        "/conversation/{name:str}/clear", summary="Clear a conversation", status_code=200, responses=_errors(400, 401, 403, 404, 409, 503)
    )
    async def clear(self, principal: Caller, workspace: Service, name: FromPath[str], start_dir: StartDir = None) -> Done:
        """What was said is gone for good; id, title and usage stay."""
        await workspace.clear(await workspace.find(principal.account_id, name, workspace.project(start_dir)))
        return Done(message=f"Conversation {name} cleared")

    @get("/conversation/{name:str}/files", summary="List files in context", responses=_errors(400, 401, 403, 404, 503))
    async def files(self, principal: Caller, workspace: Service, name: FromPath[str], start_dir: StartDir = None) -> FilesInContext:
        """Files whose current content the model reads."""
        return await workspace.files(await workspace.find(principal.account_id, name, workspace.project(start_dir)))

    @post(
        "/conversation/{name:str}/files",
        summary="Add files to the context",
        status_code=200,
        responses=_errors(400, 401, 403, 404, 409, 413, 503),
    )
    async def add_files(
        self, principal: Caller, workspace: Service, name: FromPath[str], data: JSONBody[FileNames], start_dir: StartDir = None
    ) -> FilesInContext:
        project = workspace.project(start_dir or data.start_dir)
        conversation = await workspace.find_or_add(principal.account_id, name, project)
        return await workspace.add_files(conversation, project, data.file_names)

    @delete(
        "/conversation/{name:str}/files",
        summary="Remove a file from the context",
        status_code=200,
        responses=_errors(400, 401, 403, 404, 503),
    )
    async def remove_file(
        self, principal: Caller, workspace: Service, name: FromPath[str], file_name: FileNameQuery, start_dir: StartDir = None
    ) -> FilesInContext:
        found = await workspace.find(principal.account_id, name, workspace.project(start_dir))
        return await workspace.remove_file(found, file_name)

    @get("/conversation/{name:str}/tokenUsage", summary="Get token usage", responses=_errors(400, 401, 403, 404, 503))
    async def usage(self, principal: Caller, workspace: Service, name: FromPath[str], start_dir: StartDir = None) -> UsageAnswer:
        return await workspace.usage(await workspace.find(principal.account_id, name, workspace.project(start_dir)))

    @post("/conversation/{name:str}/run", summary="Run a command", status_code=200, responses=_errors(400, 401, 403, 404, 409, 413, 503))
    async def run(
        self, principal: Caller, workspace: Service, name: FromPath[str], data: JSONBody[CommandBody], start_dir: StartDir = None
    ) -> CommandResult:
        """One of those that the operator allows (WORKSPACE_COMMANDS), word for word."""
        project = workspace.project(start_dir or data.start_dir)
        conversation = await workspace.find_or_add(principal.account_id, name, project)
        return await workspace.run(conversation, project, data.command, data.args)

    @post(
        "/conversation/{name:str}/external",
        summary="Read a web page",
        status_code=200,
        responses=_errors(400, 401, 403, 404, 409, 413, 503),
    )
    async def external(
        self, principal: Caller, workspace: Service, name: FromPath[str], data: JSONBody[ExternalBody], start_dir: StartDir = None
    ) -> ExternalContent:
        project = workspace.project(start_dir or data.start_dir)
        conversation = await workspace.find_or_add(principal.account_id, name, project)
        return await workspace.external(conversation, project, data.url)

    @get("/conversation/{name:str}/logs", summary="Get a conversation's log", responses=_errors(400, 401, 403, 404, 503))
    async def logs(
        self, request: Request[Any, Any, Any], principal: Caller, workspace: Service, name: FromPath[str], start_dir: StartDir = None
    ) -> Response[Any]:
        """JSON, or lines of text with `Accept: text/plain`."""
        logs = await workspace.logs(await workspace.find(principal.account_id, name, workspace.project(start_dir)))
        if "text/plain" in request.headers.get("accept", ""):
            return Response("".join(map(_line, logs)), media_type="text/plain")
        return Response(Logs(logs=logs))

    @post("/conversation/{name:str}/undo", summary="Undo the last change", status_code=200, responses=_errors(400, 401, 403, 404, 409, 503))
    async def undo(self, principal: Caller, workspace: Service, name: FromPath[str], start_dir: StartDir = None) -> Undone:
        """Again, it undoes the one before. 409 when a file has changed since; then nothing is touched."""
        return await workspace.undo(await workspace.find(principal.account_id, name, workspace.project(start_dir)))

    @websocket("/ws/conversation/{name:str}")
    async def follow(
        self,
        socket: WebSocket[Any, Any, Any],
        caller_token: CallerToken,
        authenticator: NamedDependency[Authenticator],
        workspace: Service,
        name: FromPath[str],
    ) -> None:
        async with refusals(socket):
            await ConversationSocket(socket, workspace, authenticator, caller_token, name).serve()


def _line(logged: LoggedEntry) -> str:
    entry = logged.log_entry
    content = entry.content if isinstance(entry.content, str) else msgspec.json.encode(entry.content).decode()
    tool = f" {entry.tool_name}" if isinstance(entry.tool_name, str) else ""
    return f"{logged.timestamp:%Y-%m-%d %H:%M:%S} {entry.entry_type}{tool}: {content}\n"
