"""What belongs to an account, kind by kind, and its end. The export shows what the API shows, under the same names."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from asyncpg import Record

from gateway.account.schemas import Account
from gateway.database import Db
from gateway.wire import camel

BATCH_ROWS = 500
# Large accounts take longer than the pool's usual limit for a statement.
_DELETE_SECONDS = 600

# One view of the data for the whole export, whatever is written meanwhile; and a reader that stalls does not hold it for ever.
SNAPSHOT = "set transaction isolation level repeatable read read only"
STALL_LIMIT = "set local idle_in_transaction_session_timeout = '60s'"

# Messages are counted by the sync that stores them: counting an account's many rows would take longer than everything else here together.
SUMMARY = """
    select id, created_at,
        (select count(*) from device where account_id = $1 and status = 'active') as devices,
        (select count(*) from contact where account_id = $1) as contacts,
        (select count(*) from conversation where account_id = $1) as conversations,
        (select coalesce(sum(message_count), 0) from conversation where account_id = $1) as messages,
        (select count(*) from response where account_id = $1) as responses,
        (select count(*) from sample where account_id = $1) as samples,
        (select count(*) from training_job where account_id = $1) as training_jobs,
        (select count(*) from adapter where account_id = $1) as adapters
    from account where id = $1
"""

COLUMNS = """
    select attname from pg_attribute
    where attrelid = $1::text::regclass and attnum > 0 and not attisdropped order by attnum
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """A file of the export: the account's rows of one table, with every column that there is no reason to leave out.

    A column is called as in the API: `sent_at` is `sentAt`, unless `renamed` says otherwise. `further` is what comes beside the columns.
    """

    table: str
    where: str = "account_id = $1"
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Columns with the reason why they are in no export."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    further: Sequence[str] = ()


_ONE_ACCOUNT = {"account_id": "the whole export is of one account"}
_LOOKED_AT = "when the gateway looks after it again or how often it did, and nothing about its owner"

EXPORTS = {
    "account": Export(table="account", where="id = $1"),
    "devices": Export(
        table="device",
        where="account_id = $1 order by id",
        left_out={**_ONE_ACCOUNT, "tokens_valid_after": "what the gateway checks tokens by, and nothing about their owner"},
    ),
    "contacts": Export(
        table="contact",
        where="account_id = $1 order by id",
        left_out=_ONE_ACCOUNT,
        further=["array(select h.handle from contact_handle h where h.contact_id = contact.id order by h.handle) as handles"],
    ),
    "conversations": Export(
        table="conversation",
        where="account_id = $1 order by id",
        left_out=_ONE_ACCOUNT,
        further=[
            """
            coalesce(
                nullif(array(select c.imessage_id from direct_chat c where c.conversation_id = conversation.id order by c.id), '{}'),
                array[imessage_id]
            ) as "imessageIds"
            """,
            'array(select f.id from former_conversation f where f.conversation_id = conversation.id order by f.id) as "formerIds"',
            """
            (select coalesce(jsonb_agg(jsonb_build_object(
                    'id', p.id, 'handle', p.handle, 'contactId', p.contact_id, 'leftAt', p.left_at
                )), '[]')
                from participant p where p.conversation_id = conversation.id) as participants
            """,
        ],
    ),
    "messages": Export(table="message", left_out=_ONE_ACCOUNT),
    "responses": Export(
        table="response",
        left_out={
            **_ONE_ACCOUNT,
            "request": "what a queued draft asks the model for: its messages and settings once more, until it is written",
            "look_at": _LOOKED_AT,
            "attempts": _LOOKED_AT,
        },
        renamed={"text": "response"},
    ),
    "samples": Export(
        table="sample",
        left_out=_ONE_ACCOUNT,
        further=[
            """
            coalesce((
                select turn ->> 'content' from jsonb_array_elements(messages) with ordinality as each (turn, number)
                where turn ->> 'role' = 'user' order by number desc limit 1
            ), '') as input
            """
        ],
    ),
    "training_jobs": Export(
        table="training_job",
        left_out={**_ONE_ACCOUNT, "look_at": _LOOKED_AT, "attempts": _LOOKED_AT},
        further=['(select adapter.id from adapter where adapter.id = training_job.id) as "adapterId"'],
    ),
    "adapters": Export(table="adapter", left_out=_ONE_ACCOUNT, further=['id as "jobId"']),
    "workspace_conversations": Export(
        table="workspace_conversation",
        where="account_id = $1 order by id",
        left_out={
            **_ONE_ACCOUNT,
            "statement_id": "whether a statement runs just now",
            "alive_at": "whether a statement runs just now",
            "cancelled": "whether a statement runs just now",
            "socket_id": "which connection follows it just now",
        },
        further=[
            """
            (select coalesce(jsonb_agg(jsonb_build_object('role', m.role, 'text', m.text, 'createdAt', m.created_at) order by m.id), '[]')
                from workspace_message m where m.conversation_id = workspace_conversation.id) as messages
            """,
            """
            array(select f.path from workspace_file f where f.conversation_id = workspace_conversation.id order by f.path) as files
            """,
        ],
    ),
    "workspace_log": Export(table="workspace_log_entry", where="account_id = $1 order by id", left_out=_ONE_ACCOUNT),
}
"""By the files' names."""

NOT_EXPORTED = {
    "workspace_message": "with the workspace conversations, as `messages`",
    "workspace_file": "with the workspace conversations, as `files`",
    "workspace_change": "what undo needs: copies of the owner's own files, which are where they were",
    "contact_handle": "with the contacts, as `handles`",
    "participant": "with the conversations, as `participants`",
    "direct_chat": "with the conversations, as `imessageIds`",
    "former_conversation": "with the conversations, as `formerIds`",
    "pairing_code": "a secret",
    "refresh_token": "a secret",
    "idempotent_answer": "answers once more, encrypted, for a day",
    "deletion_order": "what is still to be deleted",
}
"""Tables without a file of their own, and why."""

# In the order in which whoever changes a device's tokens takes them: its row before anything that hangs on it.
HOLD_DEVICES = "select id from device where account_id = $1 order by id for update"
FORGET_ANSWERS = "delete from idempotent_answer where owner = $1"
DELETE = "delete from account where id = $1"


async def summary(db: Db, account_id: UUID) -> Account | None:
    """The account with how much is in it, if it is there."""
    row = await db.fetchrow(SUMMARY, account_id)
    return Account(**row) if row else None


async def take_snapshot(db: Db) -> None:
    """The first thing in the export's transaction."""
    await db.execute(SNAPSHOT)
    await db.execute(STALL_LIMIT)


async def rows_of(db: Db, account_id: UUID, kind: str) -> AsyncIterator[list[Record]]:
    """All rows of a kind, a batch at a time; the server keeps the rest."""
    cursor = await db.cursor(await export_statement(db, EXPORTS[kind]), account_id)
    while batch := await cursor.fetch(BATCH_ROWS):
        yield batch


async def export_statement(db: Db, export: Export) -> str:
    """The query of a file, for the columns that the table has now."""
    columns = [row["attname"] for row in await db.fetch(COLUMNS, export.table) if row["attname"] not in export.left_out]
    named = [f'"{column}" as "{export.renamed.get(column) or camel(column)}"' for column in columns]
    return f"select {', '.join([*named, *export.further])} from {export.table} where {export.where}"


async def hold_devices(db: Db, account_id: UUID) -> None:
    """Let nobody pair, refresh or shut out a device of the account until the transaction ends."""
    await db.execute(HOLD_DEVICES, account_id)


async def delete(db: Db, account_id: UUID) -> None:
    """The account and, by cascade, all that hangs on it."""
    await db.execute(FORGET_ANSWERS, str(account_id))
    await db.execute(DELETE, account_id, timeout=_DELETE_SECONDS)
