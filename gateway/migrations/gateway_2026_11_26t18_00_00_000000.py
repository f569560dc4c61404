"""All tables as they were when the project was first released: what has changed since is in the migrations that follow."""

from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns import Array, BigInt, Boolean, Bytea, DoublePrecision, ForeignKey, Integer, JSONB, Real, Text, Timestamptz, UUID, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique
from piccolo.table import Table

ID = "2026-11-26T18:00:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "The tables"


class Account(Table):
    id = UUID(primary_key=True, default=None)
    created_at = Timestamptz()
    sample_bytes = BigInt(default=0)


class Device(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    name = Varchar(length=200)
    hardware_id = Varchar(length=200)
    platform = Varchar(length=20)
    os_version = Varchar(length=100)
    status = Varchar(length=20, default="pending")
    created_at = Timestamptz()
    verified_at = Timestamptz(null=True, default=None)
    last_seen_at = Timestamptz(null=True, default=None)
    tokens_valid_after = Timestamptz(null=True, default=None)

    device_hardware = Unique([account_id, hardware_id])


class PairingCode(Table):
    device_id = ForeignKey(references=Device, on_delete=OnDelete.cascade, null=False, primary_key=True)
    code_hash = Bytea()
    expires_at = Timestamptz()


class RefreshToken(Table):
    id = UUID(primary_key=True, default=None)
    family_id = UUID(index=True)
    device_id = ForeignKey(references=Device, on_delete=OnDelete.cascade, null=False, index=True)
    token_hash = Bytea(unique=True)
    created_at = Timestamptz()
    expires_at = Timestamptz()
    used_at = Timestamptz(null=True, default=None)
    revoked_at = Timestamptz(null=True, default=None)


class Contact(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False, index=True)
    apple_id = Varchar(length=320, null=True, default=None)
    phone_number = Varchar(length=20, null=True, default=None)
    email = Varchar(length=320, null=True, default=None)
    display_name = Varchar(length=500, null=True, default=None)
    avatar_hash = Varchar(length=200, null=True, default=None)
    created_at = Timestamptz()
    updated_at = Timestamptz()


class ContactHandle(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    contact_id = ForeignKey(references=Contact, on_delete=OnDelete.cascade, null=False, index=True)
    handle = Varchar(length=320)

    contact_handle_owner = Unique([account_id, handle, contact_id])


class Conversation(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    imessage_id = Varchar(length=500)
    display_name = Varchar(length=500, null=True, default=None)
    is_group = Boolean(default=False)
    message_count = Integer(default=0)
    last_message_id = UUID(null=True, default=None)
    last_message_at = Timestamptz(null=True, default=None)
    stored_bytes = BigInt(default=0)
    created_at = Timestamptz()
    updated_at = Timestamptz()

    conversation_thread = Unique([account_id, imessage_id])


class DirectChat(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    imessage_id = Varchar(length=500)
    peer = Varchar(length=320)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False, index=True)
    message_count = Integer(default=0)
    last_message_id = UUID(null=True, default=None)
    last_message_at = Timestamptz(null=True, default=None)

    direct_chat_identifier = Unique([account_id, imessage_id])


class FormerConversation(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False, index=True)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False, index=True)


class Participant(Table):
    id = UUID(primary_key=True, default=None)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False)
    handle = Varchar(length=320)
    contact_id = ForeignKey(references=Contact, on_delete=OnDelete.set_null, null=True, default=None, index=True)
    left_at = Timestamptz(null=True, default=None)

    participant_handle = Unique([conversation_id, handle])


class Message(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False)
    imessage_guid = Varchar(length=200)
    sender_id = Varchar(length=320)
    direction = Varchar(length=10)
    message_type = Varchar(length=20)
    text = Text(null=True, default=None)
    wordless = Boolean(default=False)
    sent_at = Timestamptz()
    edited_at = Timestamptz(null=True, default=None)
    retracted_at = Timestamptz(null=True, default=None)
    reply_to_guid = Varchar(length=200, null=True, default=None)
    associated_message_guid = Varchar(length=200, null=True, default=None)
    associated_message_type = Varchar(length=50, null=True, default=None)
    attachments = JSONB(null=True, default=None)

    message_guid = Unique([account_id, imessage_guid])


class Response(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False)
    message_id = ForeignKey(references=Message, on_delete=OnDelete.cascade, null=False, index=True)
    device_id = ForeignKey(references=Device, on_delete=OnDelete.set_null, null=True, default=None)
    status = Varchar(length=20)
    messages = JSONB(null=True, default=None)
    message_ids = Array(base_column=UUID())
    text = Text(null=True, default=None)
    candidates = JSONB(null=True, default=None)
    confidence = Real(null=True, default=None)
    model_version = Varchar(length=300, null=True, default=None)
    tokens_used = Integer(null=True, default=None)
    cached = Boolean(default=False)
    error = Text(null=True, default=None)
    created_at = Timestamptz()
    completed_at = Timestamptz(null=True, default=None)
    action = Varchar(length=10, null=True, default=None)
    edited_response = Text(null=True, default=None)
    rejection_reason = Text(null=True, default=None)
    sample_id = UUID(null=True, default=None)
    acted_at = Timestamptz(null=True, default=None)
    request = JSONB(null=True, default=None)
    look_at = Timestamptz(null=True, default=None)
    attempts = Integer(default=0)
    started_at = Timestamptz(null=True, default=None)


class Sample(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=True, default=None, index=True)
    response_id = UUID(null=True, default=None)
    source = Varchar(length=10)
    messages = JSONB()
    message_ids = Array(base_column=UUID())
    answered_id = UUID(null=True, default=None)
    reply_id = UUID(null=True, default=None)
    output = Text(null=True, default=None)
    rejected_output = Text(null=True, default=None)
    quality = Real(default=1.0)
    replied_at = Timestamptz()
    created_at = Timestamptz()

    sample_reply = Unique([account_id, reply_id])


class TrainingJob(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    device_id = ForeignKey(references=Device, on_delete=OnDelete.set_null, null=True, default=None, index=True)
    status = Varchar(length=20)
    base_model = Varchar(length=100)
    method = Varchar(length=10)
    epochs = Integer()
    learning_rate = DoublePrecision()
    sample_ids = Array(base_column=UUID())
    baseline_adapter_id = UUID(null=True, default=None)
    progress = DoublePrecision(default=0.0)
    epoch = DoublePrecision(default=0.0)
    step = Integer(default=0)
    total_steps = Integer(default=0)
    loss = DoublePrecision(null=True, default=None)
    eval_loss = DoublePrecision(null=True, default=None)
    baseline_eval_loss = DoublePrecision(null=True, default=None)
    eval_samples = Integer(default=0)
    peak_memory_mib = Integer(null=True, default=None)
    history = JSONB(default="[]")
    comparisons = JSONB(default="[]")
    error = Text(null=True, default=None)
    activated = Boolean(null=True, default=None)
    activation_note = Text(null=True, default=None)
    created_at = Timestamptz()
    started_at = Timestamptz(null=True, default=None)
    completed_at = Timestamptz(null=True, default=None)
    heard_at = Timestamptz()
    look_at = Timestamptz(null=True, default=None)
    attempts = Integer(default=0)


class Adapter(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    base_model = Varchar(length=100)
    sample_ids = Array(base_column=UUID())
    eval_loss = DoublePrecision()
    baseline_eval_loss = DoublePrecision()
    active = Boolean(default=False)
    stale = Boolean(default=False)
    created_at = Timestamptz()


class DeletionOrder(Table):
    id = UUID(primary_key=True, default=None)
    account_id = UUID()
    job_ids = Array(base_column=UUID())
    training_ids = Array(base_column=UUID())
    adapter_ids = Array(base_column=UUID())
    everything = Boolean(default=False)
    created_at = Timestamptz()
    look_at = Timestamptz()
    attempts = Integer(default=0)


class IdempotentAnswer(Table):
    id = UUID(primary_key=True, default=None)
    created_id = UUID()
    owner = Varchar(length=100)
    key_hash = Bytea()
    fingerprint = Bytea()
    answer = Bytea(null=True, default=None)
    created_at = Timestamptz()

    idempotent_answer_owner = Unique([owner, key_hash])


class WorkspaceConversation(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    name = Varchar(length=100)
    project = Text()
    title = Varchar(length=200, null=True, default=None)
    provider = Varchar(length=100)
    model = Varchar(length=300)
    statement_count = Integer(default=0)
    statement_turns = Integer(default=0)
    conversation_turns = Integer(default=0)
    input_tokens = BigInt(default=0)
    output_tokens = BigInt(default=0)
    statement_id = UUID(null=True, default=None)
    alive_at = Timestamptz(null=True, default=None)
    cancelled = Boolean(default=False)
    socket_id = UUID(null=True, default=None)
    created_at = Timestamptz()
    updated_at = Timestamptz()

    workspace_conversation_name = Unique([account_id, name])


class WorkspaceMessage(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False, index=True)
    role = Varchar(length=20)
    text = Text()
    created_at = Timestamptz()


class WorkspaceLogEntry(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False, index=True)
    statement_id = UUID()
    kind = Varchar(length=10)
    code = Varchar(length=40, null=True, default=None)
    entry = JSONB()
    counts = JSONB()
    created_at = Timestamptz()


class WorkspaceFile(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False)
    path = Text()
    added_at = Timestamptz()

    workspace_file_path = Unique([conversation_id, path])


class WorkspaceChange(Table):
    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=WorkspaceConversation, on_delete=OnDelete.cascade, null=False, index=True)
    tool = Varchar(length=40)
    project = Text()
    steps = JSONB()
    contents = Array(base_column=Bytea())
    created_at = Timestamptz()
    undone_at = Timestamptz(null=True, default=None)


TABLES = [Account, Device, PairingCode, RefreshToken, Contact, ContactHandle, Conversation, DirectChat, FormerConversation, Participant, Message, Response, Sample, TrainingJob, Adapter, DeletionOrder, IdempotentAnswer, WorkspaceConversation, WorkspaceMessage, WorkspaceLogEntry, WorkspaceFile, WorkspaceChange]


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    for table in TABLES:
        place = {"table_class_name": table.__name__, "tablename": table._meta.tablename}
        manager.add_table(class_name=table.__name__, tablename=table._meta.tablename)
        for column in table._meta.columns:
            manager.add_column(**place, column_name=column._meta.name, column_class=type(column), params=column._meta.params)
        for constraint in table._meta.constraints:
            manager.add_constraint(
                **place, constraint_name=constraint._meta.name, constraint_class=type(constraint), params=constraint._meta.params
            )
    return manager
