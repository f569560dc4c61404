from piccolo.columns import JSONB, UUID, Array, Boolean, ForeignKey, Integer, Real, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from gateway.devices.tables import Account, Device
from gateway.sync.tables import Conversation, Message


class Response(Table):
    """A draft: what was asked, how far it is, what came of it, and what the owner did with it."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False)
    message_id = ForeignKey(references=Message, on_delete=OnDelete.cascade, null=False, index=True)
    device_id = ForeignKey(references=Device, on_delete=OnDelete.set_null, null=True, default=None)
    status = Varchar(length=20)
    messages = JSONB(null=True, default=None)
    """The chat turns of the prompt; gone when a message in it was retracted."""
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
    """Of a queued draft: what its job is asked for, as long as the ML service may have one. A draft that somebody waits for has none."""
    look_at = Timestamptz(null=True, default=None)
    """When to look again what became of that job, if nothing was heard of it before."""
    attempts = Integer(default=0)
    """How often it was looked at since that last went well."""
    started_at = Timestamptz(null=True, default=None)
    """When the model was asked for it: of a queued draft, when its turn came."""
