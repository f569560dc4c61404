"""How a statement is worked on: turn by turn, until the model answers. Knows nothing of HTTP, sockets or rows."""

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import msgspec
import structlog
from msgspec import Struct

from gateway.workspace.files.changes import ChangeRefused
from gateway.workspace.files.project import PathRefused
from gateway.workspace.prompt import CHARACTERS_PER_TOKEN, RESULT, Prompt, result_text, turn_schema
from gateway.workspace.providers import Model, PromptTooLong, Provider, Said, partial_answer
from gateway.workspace.schemas import ErrorCode, TokenUsage
from gateway.workspace.tools.base import Tool, ToolContext, ToolFailed, ToolResult
from gateway.workspace.tools.patterns import PatternRefused
from shared.errors import Unavailable

MOST_TURNS: Final = 25
SAME_CALLS: Final = 3
"""So often in a row the same call is made; the next one is refused, and the one after that ends the statement."""
UNUSABLE_TURNS: Final = 3
"""So many in a row end the statement."""
_MOST_CUTS: Final = 4
"""So often a prompt is made shorter because the model did not take it."""
_UNFINISHED: Final = {
    "length": "it was cut off: write less in one turn",
    "repetition": "it said the same over and over",
}
"""Why a turn may have no end, by its finish reason."""
_REFUSALS: Final = (ToolFailed, PathRefused, ChangeRefused, PatternRefused)

_logger = structlog.get_logger(__name__)


class StatementFailed(Exception):
    """There will be no answer; the message is a sentence for people."""

    def __init__(self, message: str, code: ErrorCode = "STATEMENT_ERROR") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class AnswerPiece:
    """Some more of an answer that is being written."""

    text: str


@dataclass(frozen=True, slots=True)
class TurnTaken:
    """The model was asked once more and used so many tokens; it thought this before it calls tools."""

    thinking: str
    usage: TokenUsage


@dataclass(frozen=True, slots=True)
class TurnUnusable:
    """The turn was neither calls nor an answer, for this reason; the model is told, and asked again."""

    reason: str


@dataclass(frozen=True, slots=True)
class ToolUsed:
    name: str
    given: Any


@dataclass(frozen=True, slots=True)
class ToolReturned:
    """`result` is what the model is told, `summary` what people are."""

    name: str
    result: Any
    summary: str


@dataclass(frozen=True, slots=True)
class Answered:
    """The last step."""

    text: str
    thinking: str


Step: TypeAlias = AnswerPiece | TurnTaken | TurnUnusable | ToolUsed | ToolReturned | Answered


class _Call(Struct, frozen=True, rename="camel"):
    tool_name: str
    tool_input: dict[str, Any]


class _Next(Struct, frozen=True, rename="camel"):
    tool_calls: list[_Call] | None = None
    answer: str | None = None


class _Turn(Struct, frozen=True):
    next: _Next
    thinking: str = ""


async def work_on(
    prompt: Prompt, provider: Provider, model: Model, tools: Mapping[str, Tool[Any]], context: ToolContext
) -> AsyncGenerator[Step, None]:
    """Work on a statement, with which the prompt ends. Cancelling it aborts the model's generation and whatever tool runs.

    Raises:
        StatementFailed: the model gave no answer in time or nothing that can be used, was away, or does not take a prompt as long as this.
    """
    schema = turn_schema(tools)
    calls = _Calls(tools, context)
    unusable = 0
    for _ in range(MOST_TURNS):
        said: Said | None = None
        async with aclosing(_turn(provider, model, prompt, schema)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Said):
                    said = piece
                else:
                    yield piece
        assert said is not None
        turn = _read(said)
        yield TurnTaken(turn.thinking if turn is not None and turn.next.tool_calls else "", said.usage)
        prompt.add("assistant", said.text)
        if turn is None:
            reason = _UNFINISHED.get(said.finish_reason, "it is not JSON of the schema that was asked for")
            prompt.add("user", f"This turn cannot be used, because {reason}.")
            yield TurnUnusable(f"A turn of the model cannot be used, because {reason}.")
            unusable += 1
            if unusable == UNUSABLE_TURNS:
                raise StatementFailed(f"{unusable} turns of the model in a row cannot be used; ask for less, or choose another model")
            continue
        unusable = 0
        if turn.next.answer is not None and not turn.next.tool_calls:
            yield Answered(turn.next.answer, turn.thinking)
            return
        for call in turn.next.tool_calls or []:
            yield ToolUsed(call.tool_name, call.tool_input)
            returned, text = await calls.make(call)
            prompt.add("user", text, droppable=RESULT)
            yield returned
    raise StatementFailed(f"The model gave no answer within {MOST_TURNS} turns; ask for less at once")


async def _turn(provider: Provider, model: Model, prompt: Prompt, schema: dict[str, Any]) -> AsyncGenerator[AnswerPiece | Said, None]:
    """A turn, asked for with a shorter prompt when the model does not take it."""
    room = float(model.prompt_tokens * CHARACTERS_PER_TOKEN)
    for _ in range(_MOST_CUTS):
        messages = prompt.fitted(int(room))
        if messages is None:
            break
        text, told = "", ""
        try:
            async with aclosing(provider.turn(model, messages, schema)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Said):
                        yield piece
                        return
                    text += piece
                    if (answer := partial_answer(text)) != told:
                        yield AnswerPiece(answer[len(told) :])
                        told = answer
        except PromptTooLong:
            room = min(room, sum(len(message["content"]) for message in messages)) * 0.7
        except Unavailable as error:
            raise StatementFailed(error.message) from error
    raise StatementFailed("This is more than the model can read at once; say less, or forget some files", "LARGE_PROMPT")


def _read(said: Said) -> _Turn | None:
    """A turn; None if it is none."""
    try:
        turn = msgspec.json.decode(said.text.strip(), type=_Turn)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        return None
    return turn if turn.next.tool_calls or turn.next.answer else None


class _Calls:
    """Makes a statement's tool calls. What goes wrong with one is told to the model, which may do better."""

    def __init__(self, tools: Mapping[str, Tool[Any]], context: ToolContext) -> None:
        self._tools = tools
        self._context = context
        self._last_call = ""
        self._in_a_row = 0

    async def make(self, call: _Call) -> tuple[ToolReturned, str]:
        """What came of a call, and how the model is told.

        Raises:
            StatementFailed: it was made again and again.
        """
        try:
            result = await self._run(call)
        except _REFUSALS as error:
            return ToolReturned(call.tool_name, {"error": str(error)}, str(error)), f"Error of {call.tool_name}: {error}"
        except OSError as error:
            _logger.warning("tool failed", tool=call.tool_name, kind=type(error).__name__)
            message = "the files could not be read or written"
            return ToolReturned(call.tool_name, {"error": message}, message), f"Error of {call.tool_name}: {message}"
        return ToolReturned(call.tool_name, result.data, result.summary), result_text(call.tool_name, result)

    async def _run(self, call: _Call) -> ToolResult:
        self._check_repetition(call)
        tool = self._tools.get(call.tool_name)
        if tool is None:
            raise ToolFailed(f"there is no tool {call.tool_name}; there are {', '.join(self._tools)}")
        try:
            wanted = msgspec.convert(call.tool_input, tool.input_type)
        except msgspec.ValidationError as error:
            raise ToolFailed(f"the input is not as it must be: {error}") from error
        return await tool.run(self._context, wanted)

    def _check_repetition(self, call: _Call) -> None:
        key = json.dumps([call.tool_name, call.tool_input], sort_keys=True)
        self._in_a_row = self._in_a_row + 1 if key == self._last_call else 1
        self._last_call = key
        if self._in_a_row > SAME_CALLS + 1:
            raise StatementFailed(f"The model made the same call of {call.tool_name} again and again; say it in another way")
        if self._in_a_row > SAME_CALLS:
            raise ToolFailed(f"you made this very call {SAME_CALLS} times in a row; do something else, or answer")
