from piccolo.columns import JSONB, UUID, Array, ForeignKey, Real, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique
from piccolo.table import Table

from gateway.devices.tables import Account
from gateway.sync.tables import Conversation


class Sample(Table):
    """Something to learn from: the chat turns that were the prompt, and what the owner wrote, took or refused."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=True, default=None, index=True)
    response_id = UUID(null=True, default=None)
    source = Varchar(length=10)
    messages = JSONB()
    message_ids = Array(base_column=UUID())
    """All messages whose text is in the sample: those of the prompt and, of history, those of the reply."""
    answered_id = UUID(null=True, default=None)
    """The message that the prompt ends with."""
    reply_id = UUID(null=True, default=None)
    """Of history: the first message of the owner's reply."""
    output = Text(null=True, default=None)
    rejected_output = Text(null=True, default=None)
    quality = Real(default=1.0)
    replied_at = Timestamptz()
    """When the output was said: sent or, of a draft, chosen."""
    created_at = Timestamptz()

    sample_reply = Unique([account_id, reply_id])
