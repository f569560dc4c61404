from piccolo.columns import JSONB, UUID, BigInt, Boolean, ForeignKey, Integer, Text, Timestamptz, Varchar
from piccolo.columns.base import OnDelete
from piccolo.constraints import Unique
from piccolo.table import Table

from gateway.devices.tables import Account


class Contact(Table):
    """A person the owner writes with. `phone_number` is E.164 where its country is known, `email` lower-case."""

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
    """A handle that a contact has. Where several contacts of an account have it, it means none of them."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    contact_id = ForeignKey(references=Contact, on_delete=OnDelete.cascade, null=False, index=True)
    handle = Varchar(length=320)

    contact_handle_owner = Unique([account_id, handle, contact_id])


class Conversation(Table):
    """A message thread. The counters are kept by the sync that changes them, because counting 300,000 rows costs 20 ms."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    imessage_id = Varchar(length=500)
    display_name = Varchar(length=500, null=True, default=None)
    is_group = Boolean(default=False)
    message_count = Integer(default=0)
    last_message_id = UUID(null=True, default=None)
    last_message_at = Timestamptz(null=True, default=None)
    stored_bytes = BigInt(default=0)
    """An estimate of what the thread takes: rather too much than too little, so that nobody stores more than is counted."""
    created_at = Timestamptz()
    updated_at = Timestamptz()

    conversation_thread = Unique([account_id, imessage_id])


class DirectChat(Table):
    """A chat identifier of a conversation with one person, which may have several. `peer` is the handle that the identifier names.

    The counters are of what came under this identifier: where a client that uses it resumes.
    """

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
    """A conversation that has become part of another one: its id still finds that."""

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False, index=True)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False, index=True)


class Participant(Table):
    """Somebody in a thread, by the client's handle and, where one matches, by contact."""

    id = UUID(primary_key=True, default=None)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False)
    handle = Varchar(length=320)
    contact_id = ForeignKey(references=Contact, on_delete=OnDelete.set_null, null=True, default=None, index=True)
    left_at = Timestamptz(null=True, default=None)
    """When it was noticed that they are in the thread no more; their messages keep their name."""

    participant_handle = Unique([conversation_id, handle])


class Message(Table):
    """One message; unique by (account, imessage_guid). A retracted one has no text.

    A column that Piccolo has no type for is in the database only: `search` (tsvector), the words of the text (`search_words`).
    """

    id = UUID(primary_key=True, default=None)
    account_id = ForeignKey(references=Account, on_delete=OnDelete.cascade, null=False)
    conversation_id = ForeignKey(references=Conversation, on_delete=OnDelete.cascade, null=False)
    imessage_guid = Varchar(length=200)
    sender_id = Varchar(length=320)
    direction = Varchar(length=10)
    message_type = Varchar(length=20)
    text = Text(null=True, default=None)
    wordless = Boolean(default=False)
    """Whether the text is nobody's words: nothing of it shows, or a phone wrote it to report a reaction or an edit."""
    sent_at = Timestamptz()
    edited_at = Timestamptz(null=True, default=None)
    retracted_at = Timestamptz(null=True, default=None)
    reply_to_guid = Varchar(length=200, null=True, default=None)
    associated_message_guid = Varchar(length=200, null=True, default=None)
    associated_message_type = Varchar(length=50, null=True, default=None)
    attachments = JSONB(null=True, default=None)

    message_guid = Unique([account_id, imessage_guid])
