from piccolo.columns import JSONB, UUID, Array, BigInt, Boolean, Bytea, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique
from piccolo.table import Table

from gateway.devices.tables import Account


class WorkspaceConversation(Table):
    """A conversation about a project's folder. `name` is the id that its client gave it, unique within the account."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    name = Varchar(length=100)
    project = Text()
    """The project's root, an absolute path."""
    title = Varchar(length=200, null=True, default=None)
    provider = Varchar(length=100)
    model = Varchar(length=300)
    statement_count = Integer(default=0)
    statement_turns = Integer(default=0)
    """Of the last statement."""
    conversation_turns = Integer(default=0)
    input_tokens = BigInt(default=0)
    output_tokens = BigInt(default=0)
    statement_id = UUID(null=True, default=None)
    """The statement that runs; none: none does."""
    alive_at = Timestamptz(null=True, default=None)
    """When the gateway that runs the statement last said so."""
    cancelled = Boolean(default=False)
    """Somebody asked to cancel the statement that runs."""
    socket_id = UUID(null=True, default=None)
    """The one WebSocket that the conversation is followed by."""
    created_at = Timestamptz()
    updated_at = Timestamptz()

    workspace_conversation_name = Unique([account_id, name])


class WorkspaceMessage(Table):
    """What the model reads of earlier statements: what was said, and what it answered."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False, index=True)
    role = Varchar(length=20)
    text = Text()
    created_at = Timestamptz()


class WorkspaceLogEntry(Table):
    """One step of a statement, as clients are told of it. `kind` is `step`, or how the statement ended."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False, index=True)
    statement_id = UUID()
    kind = Varchar(length=10)
    code = Varchar(length=40, null=True, default=None)
    """Of an error: what clients know it by."""
    entry = JSONB()
    counts = JSONB()
    """Turns and tokens as they were then."""
    created_at = Timestamptz()


class WorkspaceFile(Table):
    """A file whose current content the model reads."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False)
    path = Text()
    added_at = Timestamptz()

    workspace_file_path = Unique([conversation_id, path])


class WorkspaceChange(Table):
    """A change to files, written down before it was made. `contents` are those that it replaced."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False, index=True)
    tool = Varchar(length=40)
    project = Text()
    steps = JSONB()
    contents = Array(base_column=Bytea())
    created_at = Timestamptz()
    undone_at = Timestamptz(null=True, default=None)
