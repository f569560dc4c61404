from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec
from asyncpg import Record
from msgspec import Struct

from gateway.database import Db
from gateway.workspace.files.changes import FolderMade, Moved, Step, Written
from gateway.workspace.schemas import (
    ConversationStats,
    ConversationSummary,
    Counts,
    FileInContext,
    LogEntry,
    LoggedEntry,
    TokenUsage,
    conversation_usage,
    usage,
)


class Conversation(Struct, frozen=True, kw_only=True):
    """A row of a conversation; `name` is the id that clients know it by."""

    id: UUID
    account_id: UUID
    name: str
    project: str
    title: str | None
    provider: str
    model: str
    statement_count: int
    statement_turns: int
    conversation_turns: int
    input_tokens: int
    output_tokens: int
    statement_id: UUID | None
    cancelled: bool
    socket_id: UUID | None
    created_at: datetime
    updated_at: datetime

    @property
    def stats(self) -> ConversationStats:
        return ConversationStats(
            statement_count=self.statement_count,
            statement_turn_count=self.statement_turns,
            conversation_turn_count=self.conversation_turns,
        )

    @property
    def usage(self) -> TokenUsage:
        return usage(self.input_tokens, self.output_tokens)

    @property
    def summary(self) -> ConversationSummary:
        return ConversationSummary(
            id=self.name,
            title=self.title,
            created_at=self.created_at,
            updated_at=self.updated_at,
            llm_provider_name=self.provider,
            model=self.model,
            conversation_stats=self.stats,
            token_usage_conversation=conversation_usage(self.usage),
        )


class Message(Struct, frozen=True, kw_only=True):
    id: UUID
    role: str
    text: str
    created_at: datetime


class Entry(Struct, frozen=True, kw_only=True):
    """A log entry as it is stored."""

    id: UUID
    statement_id: UUID
    kind: str
    code: str | None
    entry: LogEntry
    counts: Counts
    created_at: datetime

    @property
    def logged(self) -> LoggedEntry:
        return LoggedEntry(message_id=str(self.id), timestamp=self.created_at, log_entry=self.entry, **msgspec.structs.asdict(self.counts))


class Change(Struct, frozen=True, kw_only=True):
    id: UUID
    project: str
    steps: list[Written | Moved | FolderMade]
    contents: list[bytes]


_COLUMNS = ", ".join(field.name for field in msgspec.structs.fields(Conversation))
_LIVE = "alive_at > now() - interval '15 seconds'"
FIND = f"select {_COLUMNS} from workspace_conversation where account_id = $1 and name = $2"
ADD = f"""
    insert into workspace_conversation (id, account_id, name, project, provider, model, created_at, updated_at)
    values ($3, $1, $2, $4, $5, $6, now(), now())
    on conflict on constraint workspace_conversation_name do nothing
    returning {_COLUMNS}
"""
_FILTER = """
    from workspace_conversation
    where account_id = $1 and project = $2 and ($3::timestamptz is null or updated_at >= $3)
      and ($4::timestamptz is null or updated_at < $4) and ($5::text is null or provider = $5)
"""
COUNT = f"select count(*) {_FILTER}"
PAGE = f"select {_COLUMNS} {_FILTER} order by updated_at desc, id desc limit $6 offset $7"
DELETE = "delete from workspace_conversation where account_id = $1 and id = $2"
CLEAR = """
    with messages as (delete from workspace_message where account_id = $1 and conversation_id = $2),
        entries as (delete from workspace_log_entry where account_id = $1 and conversation_id = $2)
    update workspace_conversation set updated_at = now() where account_id = $1 and id = $2
"""
# A statement whose gateway died is nobody's: the next one takes its place.
CLAIM = f"""
    update workspace_conversation set statement_id = $3, alive_at = now(), cancelled = false, statement_count = statement_count + 1,
        statement_turns = 0, title = coalesce(title, $4), provider = $5, model = $6, updated_at = now()
    where account_id = $1 and id = $2 and (statement_id is null or not {_LIVE})
    returning {_COLUMNS}
"""
HOLD_IDLE = f"select statement_id is null or not {_LIVE} from workspace_conversation where account_id = $1 and id = $2 for no key update"
KEEP_ALIVE = """
    update workspace_conversation set alive_at = now() where account_id = $1 and id = $2 and statement_id = $3 returning cancelled
"""
COUNT_TURN = f"""
    with commit as (select set_config('synchronous_commit', 'off', true))
    update workspace_conversation set statement_turns = statement_turns + 1, conversation_turns = conversation_turns + 1,
        input_tokens = input_tokens + $4, output_tokens = output_tokens + $5, alive_at = now(), updated_at = now()
    from commit where account_id = $1 and id = $2 and statement_id = $3 returning {_COLUMNS}
"""
END = """
    update workspace_conversation set statement_id = null, updated_at = now()
    where account_id = $1 and id = $2 and statement_id = $3 returning true
"""
CANCEL = f"""
    update workspace_conversation set cancelled = true
    where account_id = $1 and id = $2 and statement_id is not null and {_LIVE} returning true
"""
NAME = "update workspace_conversation set title = $3 where account_id = $1 and id = $2"
TAKE_SOCKET = "update workspace_conversation set socket_id = $3 where account_id = $1 and id = $2"
# For all accounts: what was running on gateways that died.
END_ABANDONED = f"""
    update workspace_conversation set statement_id = null, updated_at = now() from (
        select id as abandoned_id, statement_id as abandoned from workspace_conversation where statement_id is not null and not {_LIVE}
        for update skip locked
    ) as found where id = abandoned_id
    returning {_COLUMNS.replace("statement_id", "abandoned as statement_id")}
"""

ADD_MESSAGE = """
    insert into workspace_message (id, account_id, conversation_id, role, text, created_at) values ($3, $1, $2, $4, $5, now())
"""
MESSAGES = "select id, role, text, created_at from workspace_message where account_id = $1 and conversation_id = $2 order by id"
# A step need not survive a power cut, so nobody waits for the disk; how a statement ended must.
ADD_ENTRY = """
    with commit as (
        select set_config('synchronous_commit', case when $5::text = 'step' then 'off' else current_setting('synchronous_commit') end, true)
    )
    insert into workspace_log_entry (id, account_id, conversation_id, statement_id, kind, code, entry, counts, created_at)
    select $3, $1, $2, $4, $5::text, $6, $7, $8, now() from commit
"""
ENTRIES = """
    select id, statement_id, kind, code, entry, counts, created_at from workspace_log_entry
    where account_id = $1 and conversation_id = $2 and ($3::uuid is null or id > $3) order by id limit $4
"""

ADD_FILES = """
    insert into workspace_file (id, account_id, conversation_id, path, added_at)
    select gen_random_uuid(), $1, $2, path, now() from unnest($3::text[]) as path
    on conflict on constraint workspace_file_path do nothing
"""
REMOVE_FILES = "delete from workspace_file where account_id = $1 and conversation_id = $2 and path = any($3::text[]) returning path"
FILES = "select path as file_name, added_at from workspace_file where account_id = $1 and conversation_id = $2 order by added_at, path"

ADD_CHANGE = """
    insert into workspace_change (id, account_id, conversation_id, tool, project, steps, contents, created_at)
    values ($3, $1, $2, $4, $5, $6, $7, now())
"""
LAST_CHANGE = """
    select id, project, steps, contents from workspace_change
    where account_id = $1 and conversation_id = $2 and undone_at is null order by id desc limit 1 for update
"""
# What is older can be undone no more: contents that were replaced must not pile up for ever.
FORGET_OLD_CHANGES = """
    delete from workspace_change where account_id = $1 and conversation_id = $2 and id not in (
        select id from workspace_change where account_id = $1 and conversation_id = $2 order by id desc limit 100
    )
"""
NOTE_UNDONE = "update workspace_change set undone_at = now(), contents = '{}' where account_id = $1 and id = $2"


async def find(db: Db, account_id: UUID, name: str) -> Conversation | None:
    return _conversation(await db.fetchrow(FIND, account_id, name))


async def add(db: Db, account_id: UUID, name: str, conversation_id: UUID, project: str, provider: str, model: str) -> Conversation | None:
    """None if there is one of this name."""
    return _conversation(await db.fetchrow(ADD, account_id, name, conversation_id, project, provider, model))


async def page(
    db: Db,
    account_id: UUID,
    project: str,
    *,
    since: datetime | None,
    until: datetime | None,
    provider: str | None,
    limit: int,
    offset: int,
) -> tuple[int, list[Conversation]]:
    """How many there are, and some of them, the last changed one first."""
    filters = (account_id, project, since, until, provider)
    total = int(await db.fetchval(COUNT, *filters))
    return total, [msgspec.convert(dict(row), Conversation) for row in await db.fetch(PAGE, *filters, limit, offset)]


async def delete(db: Db, account_id: UUID, conversation_id: UUID) -> None:
    await db.execute(DELETE, account_id, conversation_id)


async def clear(db: Db, account_id: UUID, conversation_id: UUID) -> None:
    """Remove what was said; title, usage and changes stay."""
    await db.execute(CLEAR, account_id, conversation_id)


async def claim(
    db: Db, account_id: UUID, conversation_id: UUID, statement_id: UUID, *, title: str, provider: str, model: str
) -> Conversation | None:
    """Let this be the statement that runs; None while another one does. `title` is taken where there is none."""
    return _conversation(await db.fetchrow(CLAIM, account_id, conversation_id, statement_id, title, provider, model))


async def hold_idle(db: Db, account_id: UUID, conversation_id: UUID) -> bool:
    """Keep statements from beginning before the transaction ends; False when one runs."""
    return bool(await db.fetchval(HOLD_IDLE, account_id, conversation_id))


async def keep_alive(db: Db, account_id: UUID, conversation_id: UUID, statement_id: UUID) -> bool:
    """Say that the statement runs; False when it is to end: somebody cancelled it, or it is not the one that runs any more."""
    return await db.fetchval(KEEP_ALIVE, account_id, conversation_id, statement_id) is False


async def count_turn(db: Db, account_id: UUID, conversation_id: UUID, statement_id: UUID, turn: TokenUsage) -> Conversation | None:
    """Add a turn's tokens; None when the statement does not run any more."""
    return _conversation(await db.fetchrow(COUNT_TURN, account_id, conversation_id, statement_id, turn.input_tokens, turn.output_tokens))


async def end(db: Db, account_id: UUID, conversation_id: UUID, statement_id: UUID) -> bool:
    """Let no statement run; False when it was not this one that did."""
    return bool(await db.fetchval(END, account_id, conversation_id, statement_id))


async def cancel(db: Db, account_id: UUID, conversation_id: UUID) -> bool:
    """Ask for the end of the statement that runs; False when none does."""
    return bool(await db.fetchval(CANCEL, account_id, conversation_id))


async def set_title(db: Db, account_id: UUID, conversation_id: UUID, title: str) -> None:
    await db.execute(NAME, account_id, conversation_id, title)


async def take_socket(db: Db, account_id: UUID, conversation_id: UUID, socket_id: UUID) -> None:
    """Let this be the conversation's one socket."""
    await db.execute(TAKE_SOCKET, account_id, conversation_id, socket_id)


async def end_abandoned(db: Db) -> list[Conversation]:
    """End all accounts' statements whose gateway has not been heard of; with the statements' ids."""
    return [msgspec.convert(dict(row), Conversation) for row in await db.fetch(END_ABANDONED)]


async def add_message(db: Db, account_id: UUID, conversation_id: UUID, message_id: UUID, role: str, text: str) -> None:
    await db.execute(ADD_MESSAGE, account_id, conversation_id, message_id, role, text)


async def messages(db: Db, account_id: UUID, conversation_id: UUID) -> list[Message]:
    """Oldest first."""
    return [Message(**row) for row in await db.fetch(MESSAGES, account_id, conversation_id)]


async def add_entry(
    db: Db,
    account_id: UUID,
    conversation_id: UUID,
    entry_id: UUID,
    statement_id: UUID,
    kind: str,
    code: str | None,
    entry: LogEntry,
    counts: Counts,
) -> None:
    await db.execute(ADD_ENTRY, account_id, conversation_id, entry_id, statement_id, kind, code, entry, counts)


async def entries(db: Db, account_id: UUID, conversation_id: UUID, *, after: UUID | None = None, limit: int = 10_000) -> list[Entry]:
    """Oldest first."""
    return [msgspec.convert(dict(row), Entry) for row in await db.fetch(ENTRIES, account_id, conversation_id, after, limit)]


async def add_files(db: Db, account_id: UUID, conversation_id: UUID, paths: Sequence[str]) -> None:
    await db.execute(ADD_FILES, account_id, conversation_id, paths)


async def remove_files(db: Db, account_id: UUID, conversation_id: UUID, paths: Sequence[str]) -> list[str]:
    """Those that were there."""
    return [row["path"] for row in await db.fetch(REMOVE_FILES, account_id, conversation_id, paths)]


async def files(db: Db, account_id: UUID, conversation_id: UUID) -> list[FileInContext]:
    return [FileInContext(**row) for row in await db.fetch(FILES, account_id, conversation_id)]


async def add_change(
    db: Db,
    account_id: UUID,
    conversation_id: UUID,
    change_id: UUID,
    tool: str,
    project: str,
    steps: Sequence[Step],
    contents: Sequence[bytes],
) -> None:
    """Write a change down that is about to be made. The last 100 of a conversation are kept."""
    await db.execute(ADD_CHANGE, account_id, conversation_id, change_id, tool, project, steps, contents)
    await db.execute(FORGET_OLD_CHANGES, account_id, conversation_id)


async def last_change(db: Db, account_id: UUID, conversation_id: UUID) -> Change | None:
    """The last change that was not undone; nobody else undoes it before the transaction ends."""
    row = await db.fetchrow(LAST_CHANGE, account_id, conversation_id)
    if row is None:
        return None
    steps: list[Any] = msgspec.convert(row["steps"], list[Written | Moved | FolderMade])
    return Change(id=row["id"], project=row["project"], steps=steps, contents=list(row["contents"]))


async def note_undone(db: Db, account_id: UUID, change_id: UUID) -> None:
    await db.execute(NOTE_UNDONE, account_id, change_id)


def _conversation(row: Record | None) -> Conversation | None:
    return msgspec.convert(dict(row), Conversation) if row is not None else None
