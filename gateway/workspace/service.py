import asyncio
import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import msgspec

from gateway.database import Database, Db
from gateway.workspace import queries
from gateway.workspace.files import changes
from gateway.workspace.files.changes import ChangedSince
from gateway.workspace.files.project import Project, open_project
from gateway.workspace.files.tree import Tree
from gateway.workspace.providers import MAX_TOKENS, TEMPERATURE
from gateway.workspace.queries import Conversation, Entry
from gateway.workspace.schemas import (
    CommandResult,
    ConversationDetails,
    ConversationList,
    ConversationMessage,
    ExternalContent,
    FilesInContext,
    LoggedEntry,
    MessageMeta,
    Pagination,
    StatementAnswer,
    TextPart,
    Undone,
    UsageAnswer,
    conversation_usage,
)
from gateway.workspace.statements import Statements
from gateway.workspace.tools.base import ToolFailed
from gateway.workspace.tools.fetch_web_page import FetchWebPageInput
from gateway.workspace.tools.request_files import RequestFilesInput
from gateway.workspace.tools.run_command import RunCommandInput
from shared.errors import BadRequest, Conflict, Forbidden, NotFound, Unavailable
from shared.ids import new_id

LOOK_SECONDS: Final = 0.5
"""How often the log is read of a statement that may run on another gateway."""
_LONGEST_NAME: Final = 100
_UNKNOWN: Final = "Conversation not found"


class WorkspaceService:
    """Conversations about projects' folders.

    Args:
        database: where they are kept.
        statements: runs what is said in them.
        roots: the folders that projects may be in.
    """

    def __init__(self, database: Database, statements: Statements, roots: Sequence[str]) -> None:
        self._database = database
        self.statements = statements
        self._roots = [Path(root) for root in roots]

    def check_open(self) -> None:
        """See that there is anything to work on.

        Raises:
            Forbidden: the operator has opened no folder.
        """
        if not self._roots:
            raise Forbidden("No folder is open to the workspace assistant; its operator can name some in WORKSPACE_ROOTS")

    def project(self, start_dir: str | None) -> Project:
        """The project that a request is about.

        Raises:
            BadRequest: it names none, or there is no such folder.
            Forbidden: the folder is not open to the workspace assistant.
        """
        self.check_open()
        if not start_dir:
            raise BadRequest("Missing startDir parameter")
        return open_project(start_dir, self._roots)

    async def conversations(
        self,
        account_id: UUID,
        project: Project,
        *,
        page: int,
        page_size: int,
        start_date: str | None,
        end_date: str | None,
        provider: str | None,
    ) -> ConversationList:
        since, until = _moment(start_date, "startDate", last=False), _moment(end_date, "endDate", last=True)
        async with self._database.connection() as db:
            total, found = await queries.page(
                db,
                account_id,
                str(project.root),
                since=since,
                until=until,
                provider=provider,
                limit=page_size,
                offset=(page - 1) * page_size,
            )
        pagination = Pagination(page=page, page_size=page_size, total_pages=math.ceil(total / page_size), total_items=total)
        return ConversationList(conversations=[each.summary for each in found], pagination=pagination)

    async def find(self, account_id: UUID, name: str, project: Project) -> Conversation:
        """A conversation.

        Raises:
            NotFound: there is none of this name about this project, or it is another account's.
        """
        async with self._database.connection() as db:
            found = await queries.find(db, account_id, name)
        if found is None or found.project != str(project.root):
            raise NotFound(_UNKNOWN)
        return found

    async def find_or_add(self, account_id: UUID, name: str, project: Project) -> Conversation:
        """A conversation, made if there is none of this name.

        Raises:
            BadRequest: no conversation can have this name.
            Conflict: there is one of this name about another project.
        """
        if not name or len(name) > _LONGEST_NAME or "\0" in name:
            raise BadRequest(f"A conversation's id has 1 to {_LONGEST_NAME} characters")
        async with self._database.connection() as db:
            found = await queries.find(db, account_id, name)
            if found is None:
                found = await queries.add(db, account_id, name, new_id(), str(project.root), self.statements.provider.name, "")
            if found is None:  # somebody was faster
                found = await queries.find(db, account_id, name)
        if found is None:
            raise NotFound(_UNKNOWN)
        if found.project != str(project.root):
            raise Conflict("There is a conversation of this id about another project")
        return found

    async def details(self, conversation: Conversation) -> ConversationDetails:
        async with self._database.connection() as db:
            said = await queries.messages(db, conversation.account_id, conversation.id)
            entries = await queries.entries(db, conversation.account_id, conversation.id)
        return ConversationDetails(
            id=conversation.name,
            llm_provider_name=conversation.provider,
            title=conversation.title,
            system=self.statements.system,
            model=conversation.model,
            max_tokens=MAX_TOKENS,
            temperature=TEMPERATURE,
            statement_turn_count=conversation.statement_turns,
            total_token_usage=conversation.usage,
            messages=[
                ConversationMessage(role=each.role, content=[TextPart(text=each.text)], id=str(each.id), timestamp=each.created_at)
                for each in said
            ],
            log_entries=[each.logged for each in entries],
            conversation_stats=conversation.stats,
            token_usage_conversation=conversation_usage(conversation.usage),
        )

    async def reread(self, conversation: Conversation) -> Conversation | None:
        """A conversation as it is now; None if it was deleted."""
        async with self._database.connection() as db:
            return await queries.find(db, conversation.account_id, conversation.name)

    async def take_socket(self, conversation: Conversation, socket_id: UUID) -> None:
        """Let this socket be the one that follows a conversation; an older one notices within seconds, here at once."""
        async with self._database.connection() as db:
            await queries.take_socket(db, conversation.account_id, conversation.id, socket_id)
        self.statements.wake(conversation.id)

    async def entries(self, conversation: Conversation, *, after: UUID | None = None) -> list[Entry]:
        """The log, or what came after an entry."""
        async with self._database.connection() as db:
            return await queries.entries(db, conversation.account_id, conversation.id, after=after)

    async def logs(self, conversation: Conversation) -> list[LoggedEntry]:
        return [each.logged for each in await self.entries(conversation)]

    async def say(self, account_id: UUID, name: str, project: Project, statement: str) -> StatementAnswer:
        """Say something and wait for the answer. Who stops waiting does not stop the statement.

        Raises:
            Conflict: another statement runs.
            NotFound: the conversation was deleted or cleared meanwhile.
            Unavailable: there is no answer; the message says why.
        """
        conversation = await self.find_or_add(account_id, name, project)
        statement_id = await self.statements.begin(conversation, project, statement)
        last = await self._end_of(conversation, statement_id)
        if last.kind != "answer":
            raise Unavailable(str(last.entry.content))
        conversation = await self.find(account_id, name, project)
        return StatementAnswer(
            conversation_id=name,
            response=str(last.entry.content),
            message_meta=message_meta(conversation, last),
            conversation_title=conversation.title,
            log_entry=msgspec.structs.replace(last.entry, thinking=msgspec.UNSET),
            conversation_stats=last.counts.conversation_stats,
            token_usage_statement=last.counts.token_usage_statement,
            token_usage_conversation=last.counts.token_usage_conversation,
        )

    async def _end_of(self, conversation: Conversation, statement_id: UUID) -> Entry:
        after: UUID | None = None
        with self.statements.news(conversation.id) as changed:
            while True:
                now = await self.reread(conversation)  # before its log: once the statement has ended, its end is there
                for entry in await self.entries(conversation, after=after):
                    after = entry.id
                    if entry.statement_id == statement_id and entry.kind != "step":
                        return entry
                if now is None or now.statement_id != statement_id:
                    raise NotFound("The conversation was deleted or cleared while this statement ran")
                await changed(LOOK_SECONDS)

    async def delete(self, conversation: Conversation) -> None:
        """Remove a conversation with all that it knows; a statement that runs is ended. Files stay as they are."""
        async with self._database.connection() as db:
            await queries.delete(db, conversation.account_id, conversation.id)
        self.statements.leave(conversation.id)

    async def clear(self, conversation: Conversation) -> None:
        """Forget what was said; id, title and usage stay.

        Raises:
            Conflict: a statement runs.
        """
        async with self._database.transaction() as db:
            await _hold_idle(db, conversation)
            await queries.clear(db, conversation.account_id, conversation.id)

    async def files(self, conversation: Conversation) -> FilesInContext:
        async with self._database.connection() as db:
            return FilesInContext(files=await queries.files(db, conversation.account_id, conversation.id))

    async def add_files(self, conversation: Conversation, project: Project, names: Sequence[str]) -> FilesInContext:
        """Have the model read these files.

        Raises:
            BadRequest: none of them can be read.
        """
        await self._use(conversation, project, "request_files", RequestFilesInput(file_names=list(names)))
        return await self.files(conversation)

    async def remove_file(self, conversation: Conversation, name: str) -> FilesInContext:
        """Have the model read a file no more.

        Raises:
            NotFound: it does not.
        """
        async with self._database.connection() as db:
            removed = await queries.remove_files(db, conversation.account_id, conversation.id, [name])
        if not removed:
            raise NotFound(f"{name} is not among the files of this conversation")
        return await self.files(conversation)

    async def usage(self, conversation: Conversation) -> UsageAnswer:
        entries = await self.entries(conversation)
        statement = entries[-1].counts.token_usage_statement if entries else conversation.usage
        return UsageAnswer(
            token_usage_statement=statement,
            token_usage_conversation=conversation_usage(conversation.usage),
            conversation_stats=conversation.stats,
        )

    async def run(self, conversation: Conversation, project: Project, command: str, args: Sequence[str]) -> CommandResult:
        """Run one of the allowed commands.

        Raises:
            BadRequest: it is not allowed, is not there, or took too long.
        """
        data = await self._use(conversation, project, "run_command", RunCommandInput(command=command, args=list(args)))
        return CommandResult(**data)

    async def external(self, conversation: Conversation, project: Project, url: str) -> ExternalContent:
        """Read a page of the public web.

        Raises:
            BadRequest: it cannot be read.
        """
        return ExternalContent(**await self._use(conversation, project, "fetch_web_page", FetchWebPageInput(url=url)))

    async def undo(self, conversation: Conversation) -> Undone:
        """Take the last change back that was not taken back.

        Raises:
            NotFound: there is none.
            Conflict: a statement runs, or files have changed since; nothing was touched.
        """
        async with self._database.transaction() as db:
            await _hold_idle(db, conversation)
            change = await queries.last_change(db, conversation.account_id, conversation.id)
            if change is None:
                raise NotFound("There is no change to undo")
            try:
                files = await asyncio.to_thread(_undone, change)
            except ChangedSince as error:
                raise Conflict(str(error)) from error
            except OSError as error:
                raise Conflict("The project's folder is gone, or cannot be written") from error
            await queries.note_undone(db, conversation.account_id, change.id)
        return Undone(message=f"Last change in conversation {conversation.name} undone", files=files)

    async def _use(self, conversation: Conversation, project: Project, name: str, wanted: object) -> dict[str, Any]:
        """What a tool brings that a client asks for itself."""
        try:
            result = await self.statements.tool(name).run(self.statements.context(conversation, project), wanted)
        except ToolFailed as error:
            raise BadRequest(str(error)) from error
        return result.data


def message_meta(conversation: Conversation, answer: Entry) -> MessageMeta:
    return MessageMeta(id=str(answer.id), model=conversation.model, llm_provider_name=conversation.provider)


async def _hold_idle(db: Db, conversation: Conversation) -> None:
    """See that no statement runs on a conversation, and that none begins before the transaction ends."""
    if not await queries.hold_idle(db, conversation.account_id, conversation.id):
        raise Conflict("A statement runs on this conversation; wait for its end, or cancel it")


def _undone(change: queries.Change) -> list[str]:
    with Tree(Path(change.project)) as tree:
        return changes.undo(tree, change.steps, change.contents)


def _moment(text: str | None, field: str, *, last: bool) -> datetime | None:
    """A date or a time; a bare date is its beginning, or for the `last` one its end: the beginning of the next day."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest.field(field, "must be a date such as 2026-11-27, or a time in RFC 3339") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    if last:
        moment += timedelta(days=1) if len(text) == len("2026-11-27") else timedelta(microseconds=1)
    return moment
