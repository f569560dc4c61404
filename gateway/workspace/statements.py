"""Statements as they run: each in a task of its own, which lives on when its client leaves, and ends when it is cancelled.

What a statement does is written into the conversation's log, and clients read it from there: so a client that comes back, or that is
connected to another gateway, sees the same as one that stayed. A gateway that runs a statement says so every few seconds; what is not heard
of is ended by the others.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from typing import Any, Final
from uuid import UUID

import msgspec
import structlog

from gateway.database import Database, Db
from gateway.limits.places import Places
from gateway.wire import storable, storable_json
from gateway.workspace import queries
from gateway.workspace.context import ConversationContext
from gateway.workspace.files.project import Project
from gateway.workspace.files.tree import Tree
from gateway.workspace.loop import Answered, AnswerPiece, StatementFailed, Step, ToolReturned, ToolUsed, TurnTaken, TurnUnusable, work_on
from gateway.workspace.prompt import FILES, HISTORY, Prompt, files_in_context, system_prompt
from gateway.workspace.providers import Model, PromptTooLong, Provider, Said
from gateway.workspace.queries import Conversation
from gateway.workspace.schemas import Counts, ErrorCode, LogEntry, TokenUsage, conversation_usage
from gateway.workspace.tools.base import Tool
from shared.background import BackgroundTask
from shared.errors import AppError, Conflict, TooManyRequests, Unavailable
from shared.ids import new_id

_ALIVE_SECONDS: Final = 1.0
"""How often a running statement says that it runs, and sees whether it was cancelled elsewhere."""
_SWEEP_SECONDS: Final = 10.0
_CLOSE_SECONDS: Final = 5.0
_MOST_RUNNING: Final = 8
"""Statements of one account that a gateway works on at the same time."""
_TITLE_WORDS, _TITLE_CHARACTERS = 8, 60
_IN_USE = "Another statement runs on this conversation; wait for its end, or cancel it"
_STOPPED = "The gateway was stopped while this statement ran; say it again"
_UNEXPECTED = "Something went wrong while this statement ran; say it again"

_logger = structlog.get_logger(__name__)


class Statements:
    """Starts statements, and ends them.

    Args:
        database: where everything is kept.
        provider: asks the model.
        tools: what the model may do.
        commands: which commands it may run.
    """

    def __init__(self, database: Database, provider: Provider, tools: Mapping[str, Tool[Any]], commands: Sequence[str]) -> None:
        self._database = database
        self.provider = provider
        self._tools = tools
        self._commands = commands
        self._running: dict[UUID, asyncio.Task[None]] = {}
        self._places = Places(_MOST_RUNNING, _too_many)
        self._pieces: dict[UUID, str] = {}
        self._news: defaultdict[UUID, set[asyncio.Event]] = defaultdict(set)
        self._sweeping = BackgroundTask("abandoned statements", self._sweep)
        self._closing = False

    def start(self) -> None:
        self._sweeping.start()

    async def close(self) -> None:
        """End what runs; each says that the gateway was stopped."""
        self._closing = True
        for task in self._running.values():
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running.values()), timeout=_CLOSE_SECONDS)
        await self._sweeping.close()
        await self.provider.close()

    @property
    def system(self) -> str:
        """What the model is told of its work."""
        return system_prompt(self._tools, self._commands)

    def context(self, conversation: Conversation, project: Project) -> ConversationContext:
        """What tools may use that serve this conversation."""
        return ConversationContext(self._database, conversation.account_id, conversation.id, project, self._commands)

    def tool(self, name: str) -> Tool[Any]:
        return self._tools[name]

    async def begin(self, conversation: Conversation, project: Project, statement: str) -> UUID:
        """Begin to work on a statement; its id. How it goes is in the log.

        Raises:
            Conflict: another one runs on this conversation.
            TooManyRequests: eight of the account run already.
            Unavailable: the model is away.
        """
        if self._closing:
            raise Unavailable("The gateway is stopping; try again in a moment")
        self._places.check(conversation.account_id)
        statement = storable(statement)
        model = await self.provider.model(str(conversation.account_id))
        statement_id = new_id()
        async with self._database.transaction() as db:
            claimed = await queries.claim(
                db,
                conversation.account_id,
                conversation.id,
                statement_id,
                title=_first_words(statement),
                provider=self.provider.name,
                model=model.name,
            )
            if claimed is None:
                raise Conflict(_IN_USE)
            said = await queries.messages(db, conversation.account_id, conversation.id)
            await queries.add_message(db, conversation.account_id, conversation.id, new_id(), "user", statement)
            await _log(db, claimed, "step", None, LogEntry(entry_type="user", content=statement), TokenUsage(), TokenUsage())
        prompt = Prompt()
        prompt.add("system", self.system)
        for message in said:
            prompt.add("user" if message.role == "user" else "assistant", message.text, droppable=HISTORY)
        task = asyncio.create_task(self._run(_Run(claimed, project, model, statement, prompt)), name="workspace statement")
        self._running[conversation.id] = task
        task.add_done_callback(lambda _: self._ended(conversation.id, task))
        self.wake(conversation.id)
        return statement_id

    async def cancel(self, conversation: Conversation) -> bool:
        """End the statement that runs, on whichever gateway; False when none does."""
        async with self._database.connection() as db:
            asked = await queries.cancel(db, conversation.account_id, conversation.id)
        if asked:
            self.leave(conversation.id)
        return asked

    def leave(self, conversation_id: UUID) -> None:
        """End here what runs on a conversation. Other gateways that run it see within a second that it is cancelled, or gone."""
        if (task := self._running.get(conversation_id)) is not None:
            task.cancel()

    @contextmanager
    def news(self, conversation_id: UUID) -> Iterator[Callable[[float], Awaitable[None]]]:
        """A function that waits until there is something new of a conversation here since its last call, at most so many seconds."""
        event = asyncio.Event()
        self._news[conversation_id].add(event)

        async def changed(seconds: float) -> None:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await event.wait()
            event.clear()

        try:
            yield changed
        finally:
            self._news[conversation_id].discard(event)
            if not self._news[conversation_id]:
                del self._news[conversation_id]

    def answer_so_far(self, conversation_id: UUID) -> str:
        """What there is of the answer that is being written here."""
        return self._pieces.get(conversation_id, "")

    def wake(self, conversation_id: UUID) -> None:
        """Let those go on who wait for something new of a conversation here."""
        for event in self._news.get(conversation_id, ()):
            event.set()

    def _ended(self, conversation_id: UUID, task: asyncio.Task[None]) -> None:
        if self._running.get(conversation_id) is task:
            del self._running[conversation_id]
        self.wake(conversation_id)

    async def _run(self, run: "_Run") -> None:
        """Work on a statement to its end, which is told exactly once."""
        with self._places.taken(run.account_id):
            await self._run_in_place(run)
            if run.is_answered and run.conversation.statement_count == 1:
                with suppress(AppError, PromptTooLong):
                    await self._give_title(run)

    async def _run_in_place(self, run: "_Run") -> None:
        alive = asyncio.create_task(self._keep_alive(run, asyncio.current_task()))
        try:
            try:
                await self._work(run)
            finally:
                alive.cancel()  # it must not cancel what is left to do
        except asyncio.CancelledError:
            if self._closing:
                await self._end(run, "error", "STATEMENT_ERROR", _STOPPED)
            else:
                await self._end(run, "cancelled", None, "Operation cancelled")
        except StatementFailed as error:
            await self._end(run, "error", error.code, str(error))
        except AppError as error:
            await self._end(run, "error", "STATEMENT_ERROR", error.message)
        except Exception as error:
            _logger.error("statement failed", statement_id=str(run.statement_id), exc_info=error)
            await self._end(run, "error", "INTERNAL_ERROR", _UNEXPECTED)
        finally:
            self._pieces.pop(run.conversation.id, None)

    async def _work(self, run: "_Run") -> None:
        context = self.context(run.conversation, run.project)
        async with self._database.connection() as db:
            paths = [each.file_name for each in await queries.files(db, run.account_id, run.conversation.id)]
        if paths:
            run.prompt.add("user", await asyncio.to_thread(_read_files, run.project, paths), droppable=FILES)
            run.shown = set(paths)
        run.prompt.add("user", run.statement)
        async with aclosing(work_on(run.prompt, self.provider, run.model, self._tools, context)) as steps:
            async for step in steps:
                if isinstance(step, Answered):
                    await self._answer(run, step)
                    return
                await self._note(run, step)

    async def _note(self, run: "_Run", step: Step) -> None:
        match step:
            case AnswerPiece(text):
                self._pieces[run.conversation.id] = self._pieces.get(run.conversation.id, "") + text
            case TurnTaken(thinking, usage):
                self._pieces.pop(run.conversation.id, None)
                async with self._database.connection() as db:
                    counted = await queries.count_turn(db, run.account_id, run.conversation.id, run.statement_id, usage)
                    if counted is None:
                        raise asyncio.CancelledError
                    run.count(counted, usage)
                    if thinking:
                        await self._step(db, run, LogEntry(entry_type="assistant", content=thinking))
            case TurnUnusable(reason):
                async with self._database.connection() as db:
                    await self._step(db, run, LogEntry(entry_type="error", content=reason))
            case ToolUsed(name, given):
                async with self._database.connection() as db:
                    await self._step(db, run, LogEntry(entry_type="tool_use", content=given, tool_name=name))
            case ToolReturned(name, result, summary):
                content = {"toolResult": result, "bbaiResponse": summary}
                async with self._database.connection() as db:
                    await self._step(db, run, LogEntry(entry_type="tool_result", content=content, tool_name=name))
                    paths = [each.file_name for each in await queries.files(db, run.account_id, run.conversation.id)]
                await self._show_new_files(run, paths)
            case Answered():
                raise AssertionError("an answer ends a statement")
        self.wake(run.conversation.id)

    async def _step(self, db: Db, run: "_Run", entry: LogEntry) -> None:
        await _log(db, run.conversation, "step", None, entry, run.turn_usage, run.usage)

    async def _show_new_files(self, run: "_Run", paths: Sequence[str]) -> None:
        """Show the model files that it has just asked for."""
        if new := [path for path in paths if path not in run.shown]:
            run.prompt.add("user", await asyncio.to_thread(_read_files, run.project, new), droppable=FILES)
        run.shown = set(paths)

    async def _answer(self, run: "_Run", answered: Answered) -> None:
        entry = LogEntry(entry_type="answer", content=answered.text, thinking=answered.thinking)
        async with self._database.transaction() as db:
            if await queries.end(db, run.account_id, run.conversation.id, run.statement_id):
                await queries.add_message(db, run.account_id, run.conversation.id, new_id(), "assistant", storable(answered.text))
                await _log(db, run.conversation, "answer", None, entry, run.turn_usage, run.usage)
                run.is_answered = True
        self.wake(run.conversation.id)

    async def _end(self, run: "_Run", kind: str, code: ErrorCode | None, message: str) -> None:
        with suppress(Unavailable):  # the others end it then
            async with self._database.transaction() as db:
                if await queries.end(db, run.account_id, run.conversation.id, run.statement_id):
                    entry = LogEntry(entry_type="error", content=message)
                    await _log(db, run.conversation, kind, code, entry, run.turn_usage, run.usage)
        self.wake(run.conversation.id)

    async def _give_title(self, run: "_Run") -> None:
        """Ask the model for a conversation's title. Its first words are the title until then, and stay it if there is none."""
        schema = {
            "type": "object",
            "properties": {"title": {"type": "string", "minLength": 3, "maxLength": _TITLE_CHARACTERS}},
            "required": ["title"],
            "additionalProperties": False,
        }
        asked = [{"role": "user", "content": f"Give a title of at most six words to a task that begins: {run.statement[:1_000]}"}]
        title = ""
        async with aclosing(self.provider.turn(run.model, asked, schema)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Said):
                    title = _title_in(piece.text)
        if title:
            async with self._database.connection() as db:
                await queries.set_title(db, run.account_id, run.conversation.id, title)

    async def _keep_alive(self, run: "_Run", task: asyncio.Task[Any] | None) -> None:
        while True:
            await asyncio.sleep(_ALIVE_SECONDS)
            with suppress(Unavailable):
                async with self._database.connection() as db:
                    wanted = await queries.keep_alive(db, run.account_id, run.conversation.id, run.statement_id)
                if not wanted and task is not None:
                    task.cancel()
                    return

    async def _sweep(self) -> None:
        while True:
            with suppress(Unavailable):
                async with self._database.transaction() as db:
                    for abandoned in await queries.end_abandoned(db):
                        entry = LogEntry(entry_type="error", content=_STOPPED)
                        await _log(db, abandoned, "error", "STATEMENT_ERROR", entry, TokenUsage(), TokenUsage())
            await asyncio.sleep(_SWEEP_SECONDS)


class _Run:
    """A statement that runs, and what it has used so far."""

    def __init__(self, conversation: Conversation, project: Project, model: Model, statement: str, prompt: Prompt) -> None:
        assert conversation.statement_id is not None
        self.conversation = conversation
        self.statement_id = conversation.statement_id
        self.account_id = conversation.account_id
        self.project = project
        self.model = model
        self.statement = statement
        self.prompt = prompt
        self.turn_usage = TokenUsage()
        self.usage = TokenUsage()
        self.is_answered = False
        self.shown: set[str] = set()

    def count(self, conversation: Conversation, usage: TokenUsage) -> None:
        self.conversation = conversation
        self.turn_usage = usage
        self.usage = self.usage.plus(usage)


async def _log(
    db: Db, conversation: Conversation, kind: str, code: str | None, entry: LogEntry, turn: TokenUsage, statement: TokenUsage
) -> None:
    assert conversation.statement_id is not None
    counts = Counts(
        conversation_stats=conversation.stats,
        token_usage_turn=turn,
        token_usage_statement=statement,
        token_usage_conversation=conversation_usage(conversation.usage),
    )
    stored = msgspec.convert(storable_json(msgspec.to_builtins(entry)), LogEntry)
    await queries.add_entry(db, conversation.account_id, conversation.id, new_id(), conversation.statement_id, kind, code, stored, counts)


def _too_many() -> TooManyRequests:
    return TooManyRequests(f"{_MOST_RUNNING} statements of this account run; wait for one of them, or cancel one", retry_after=5)


def _read_files(project: Project, paths: Sequence[str]) -> str:
    with Tree(project.root) as tree:
        return files_in_context(tree, paths)


def _first_words(statement: str) -> str:
    return " ".join(statement.split()[:_TITLE_WORDS])[:_TITLE_CHARACTERS]


def _title_in(text: str) -> str:
    try:
        title = msgspec.json.decode(text.strip(), type=dict[str, str]).get("title", "")
    except (msgspec.MsgspecError, UnicodeError):
        return ""
    return " ".join(title.replace("\0", "").split())[:_TITLE_CHARACTERS]
