"""Public bodies of the workspace assistant, as the BBai API has them."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from gateway.wire import Wire

EntryType = Literal["user", "assistant", "tool_use", "tool_result", "answer", "error"]
ErrorCode = Literal[
    "EMPTY_PROMPT",
    "START_DIR_REQUIRED",
    "INVALID_START_DIR",
    "NO_ACTIVE_CONVERSATION",
    "CONVERSATION_IN_USE",
    "STATEMENT_ERROR",
    "CANCELLATION_ERROR",
    "LARGE_PROMPT",
    "INTERNAL_ERROR",
]


class ErrorAnswer(Wire, frozen=True, kw_only=True, omit_defaults=True):
    """Every error of this API."""

    error: str
    details: Any = None


class Status(Wire, frozen=True, kw_only=True):
    status: Literal["OK"] = "OK"
    message: Literal["API is running"] = "API is running"


class ConversationStats(Wire, frozen=True, kw_only=True):
    """Statements are what people say, turns what the model is asked: of the last statement, and of all."""

    statement_count: int = 0
    statement_turn_count: int = 0
    conversation_turn_count: int = 0


class TokenUsage(Wire, frozen=True, kw_only=True):
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0

    def plus(self, other: "TokenUsage") -> "TokenUsage":
        return usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


def usage(input_tokens: int, output_tokens: int) -> TokenUsage:
    return TokenUsage(input_tokens=input_tokens, output_tokens=output_tokens, total_tokens=input_tokens + output_tokens)


class ConversationUsage(Wire, frozen=True, kw_only=True):
    """Tokens of a whole conversation, under the names that clients of either generation read."""

    input_tokens_total: int = 0
    output_tokens_total: int = 0
    total_tokens_total: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0


def conversation_usage(total: TokenUsage) -> ConversationUsage:
    return ConversationUsage(
        input_tokens_total=total.input_tokens,
        output_tokens_total=total.output_tokens,
        total_tokens_total=total.total_tokens,
        input_tokens=total.input_tokens,
        output_tokens=total.output_tokens,
        total_tokens=total.total_tokens,
    )


class Counts(Wire, frozen=True, kw_only=True):
    """Where a conversation is."""

    conversation_stats: ConversationStats
    token_usage_turn: TokenUsage
    token_usage_statement: TokenUsage
    token_usage_conversation: ConversationUsage


class LogEntry(Wire, frozen=True, kw_only=True):
    """`content` is text; of `tool_use` the tool's input, of `tool_result` `{toolResult, bbaiResponse}`."""

    entry_type: EntryType
    content: Any
    tool_name: str | UnsetType = UNSET
    thinking: str | UnsetType = UNSET


class LoggedEntry(Counts, frozen=True, kw_only=True):
    message_id: str
    timestamp: datetime
    log_entry: LogEntry


class ConversationSummary(Wire, frozen=True, kw_only=True):
    id: str
    title: str | None
    created_at: datetime
    updated_at: datetime
    llm_provider_name: str
    model: str
    conversation_stats: ConversationStats
    token_usage_conversation: ConversationUsage


class Pagination(Wire, frozen=True, kw_only=True):
    page: int
    page_size: int
    total_pages: int
    total_items: int


class ConversationList(Wire, frozen=True, kw_only=True):
    """Conversations about a project, the last changed one first."""

    conversations: list[ConversationSummary]
    pagination: Pagination


class TextPart(Wire, frozen=True, kw_only=True):
    type: Literal["text"] = "text"
    text: str


class ConversationMessage(Wire, frozen=True, kw_only=True):
    role: str
    content: list[TextPart]
    id: str
    timestamp: datetime


class ConversationDetails(Wire, frozen=True, kw_only=True):
    id: str
    llm_provider_name: str
    title: str | None
    system: str
    model: str
    max_tokens: int
    temperature: float
    statement_turn_count: int
    total_token_usage: TokenUsage
    messages: list[ConversationMessage]
    log_entries: list[LoggedEntry]
    conversation_stats: ConversationStats
    token_usage_conversation: ConversationUsage


class StatementBody(Wire, frozen=True, kw_only=True):
    """What somebody says. Both fields are needed; what lacks is told in this API's own words."""

    statement: Annotated[str, Meta(max_length=100_000)] | None = None
    start_dir: Annotated[str, Meta(max_length=4_000)] | None = None


class MessageMeta(Wire, frozen=True, kw_only=True):
    id: str
    role: Literal["assistant"] = "assistant"
    model: str
    llm_provider_name: str


class StatementAnswer(Wire, frozen=True, kw_only=True):
    conversation_id: str
    response: str
    message_meta: MessageMeta
    conversation_title: str | None
    log_entry: LogEntry
    conversation_stats: ConversationStats
    token_usage_statement: TokenUsage
    token_usage_conversation: ConversationUsage


class Done(Wire, frozen=True, kw_only=True):
    message: str


class Undone(Wire, frozen=True, kw_only=True):
    message: str
    files: list[str]


class FileNames(Wire, frozen=True, kw_only=True):
    file_names: Annotated[list[str], Meta(min_length=1, max_length=200)]
    start_dir: str | None = None


class FileInContext(Wire, frozen=True, kw_only=True):
    file_name: str
    added_at: datetime


class FilesInContext(Wire, frozen=True, kw_only=True):
    files: list[FileInContext]


class CommandBody(Wire, frozen=True, kw_only=True):
    command: Annotated[str, Meta(min_length=1, max_length=1_000)]
    args: Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(max_length=50)] = msgspec.field(default_factory=list)
    start_dir: str | None = None


class CommandResult(Wire, frozen=True, kw_only=True):
    code: int
    command: str
    stdout: str
    stderr: str


class ExternalBody(Wire, frozen=True, kw_only=True):
    url: Annotated[str, Meta(min_length=1, max_length=2_000)]
    start_dir: str | None = None


class ExternalContent(Wire, frozen=True, kw_only=True):
    url: str
    text: str


class UsageAnswer(Wire, frozen=True, kw_only=True):
    token_usage_statement: TokenUsage
    token_usage_conversation: ConversationUsage
    conversation_stats: ConversationStats


class Logs(Wire, frozen=True, kw_only=True):
    logs: list[LoggedEntry]
