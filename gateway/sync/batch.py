"""A batch of messages as it came in: what no schema can say about it, checked at the price of a few passes over it."""

from datetime import datetime
from typing import Any

import msgspec

from gateway.database import new_ids
from gateway.errors import BadRequest
from gateway.message_text.blank import shown
from gateway.message_text.phone_reports import emoji_of, is_wordless
from gateway.message_text.search_words import search_document
from gateway.sync.chat_identifiers import is_group_identifier, peer_of
from gateway.sync.handles import handle_of
from gateway.sync.merging import attachments_json
from gateway.sync.schemas import Attachment, MessageBatch, SyncedMessage

_FIRST_YEAR, _LAST_YEAR = 1970, 2199
_TIMES = ("sent_at", "edited_at", "retracted_at")


class Batch:
    """A batch that may be stored: its messages without repetitions, each with the id it gets if it is new."""

    def __init__(self, sent: MessageBatch) -> None:
        """Check it.

        Raises:
            BadRequest: names the field at fault, such as `messages[3].sentAt`; then nothing of the batch is stored.
        """
        _check_text(sent)
        _check_times(sent.messages)
        self.sent = sent
        self.is_group = True if sent.is_group is None and is_group_identifier(sent.conversation_imessage_id) else sent.is_group
        """None: the client does not say."""
        self.peer = None if self.is_group else peer_of(sent.conversation_imessage_id)
        """Of a chat with one person: the handle, if the chat's identifier says it."""
        self.messages = _distinct(sent.messages)
        # In the order sent, so that messages of the same time keep that order.
        self.ids = dict(zip(self.messages, new_ids(len(self.messages)), strict=True))
        spelling = {handle: handle_of(handle) for handle in {message.sender_id for message in sent.messages}}
        self.sender_of = spelling
        others = {spelling[message.sender_id] for message in sent.messages if message.direction == "incoming"}
        self.listed = list(dict.fromkeys(map(handle_of, sent.participant_ids)))
        """Who is in the thread now; nobody, if the client does not say."""
        self.participants = list(dict.fromkeys([*self.listed, *sorted(others)]))

    def columns(self) -> list[list[Any]]:
        """The messages as columns, in the order of `queries.INSERT`. A column without a value is empty: `unnest` fills it with nulls, and
        that is a fifth of the encoding saved for each.
        """
        messages = self.messages.values()
        spelling = self.sender_of
        texts = [message.text if message.retracted_at is None else None for message in messages]
        reactions = [reaction_type(message) for message in messages]
        return [
            list(self.ids.values()),
            list(self.messages),
            [spelling[message.sender_id] for message in messages],
            [message.direction for message in messages],
            [message.message_type for message in messages],
            texts,
            [message.sent_at for message in messages],
            _or_empty([message.edited_at for message in messages]),
            _or_empty([message.retracted_at for message in messages]),
            _or_empty([message.reply_to_guid for message in messages]),
            _or_empty([target_guid(message.associated_message_guid) for message in messages]),
            _or_empty(reactions),
            _or_empty([attachments_json(stored_attachments(message)) for message in messages]),
            _or_empty([is_wordless(text, reaction) or None for text, reaction in zip(texts, reactions, strict=True)]),
            _or_empty([search_document(text) for text in texts]),
        ]


def _or_empty(column: list[Any]) -> list[Any]:
    return [] if column.count(None) == len(column) else column


def stored_attachments(message: SyncedMessage) -> list[dict[str, Any]] | None:
    """Attachments as they are stored; a retracted message has none."""
    if not message.attachments or message.retracted_at is not None:
        return None
    return [msgspec.to_builtins(attachment) for attachment in message.attachments]


def target_guid(associated: str | None) -> str | None:
    """The guid of the message that a reaction is about: iMessage writes the part of it in front (`p:0/GUID`, `bp:GUID`)."""
    if associated is None or not associated.startswith(("p:", "bp:")):
        return associated
    part, _, guid = associated.partition("/" if associated.startswith("p:") else ":")
    return guid or part


def reaction_type(message: SyncedMessage) -> str | None:
    """Which reaction a message is, as it is stored: of one with an emoji (Apple's 2006) the emoji, which phones write beside it."""
    kind = message.associated_message_type
    if kind is None:
        return None
    if str(kind) in ("2006", "emoji"):
        return shown(message.associated_message_emoji) or emoji_of(message.text or "") or str(kind)
    return str(kind)


def _distinct(messages: list[SyncedMessage]) -> dict[str, SyncedMessage]:
    """By guid. The same message twice is one; two that differ are refused, since nobody can tell which is meant."""
    distinct = {message.imessage_guid: message for message in messages}
    if len(distinct) == len(messages):
        return distinct
    first: dict[str, SyncedMessage] = {}
    for index, message in enumerate(messages):
        if first.setdefault(message.imessage_guid, message) != message:
            raise BadRequest.field(f"messages[{index}].imessageGuid", "was sent before in this batch with other content; send it once")
    return first


def _check_times(messages: list[SyncedMessage]) -> None:
    years = {message.sent_at.year for message in messages}
    years.update(message.edited_at.year for message in messages if message.edited_at is not None)
    years.update(message.retracted_at.year for message in messages if message.retracted_at is not None)
    if not years or (min(years) >= _FIRST_YEAR and max(years) <= _LAST_YEAR):
        return
    for index, message in enumerate(messages):
        for name in _TIMES:
            time: datetime | None = getattr(message, name)
            if time is not None and not _FIRST_YEAR <= time.year <= _LAST_YEAR:
                raise BadRequest.field(f"messages[{index}].{_camel(name)}", f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")


def _check_text(sent: MessageBatch) -> None:
    """Refuse NUL, which JSON can carry and PostgreSQL cannot store, and handles of nothing but white space."""
    messages = sent.messages
    attachments = [attachment for message in messages if message.attachments for attachment in message.attachments]
    columns: list[list[str | None]] = [
        [message.imessage_guid for message in messages],
        [message.sender_id for message in messages],
        [message.text for message in messages],
        [message.reply_to_guid for message in messages],
        [message.associated_message_guid for message in messages],
        [kind for message in messages if isinstance(kind := message.associated_message_type, str)],
        [message.associated_message_emoji for message in messages],
        [text for attachment in attachments for text in (attachment.guid, attachment.mime_type, attachment.filename)],
    ]
    if any("\0" in "".join(filter(None, column)) for column in columns):
        for index, message in enumerate(messages):
            _refuse_nul(f"messages[{index}].", message)
            for place, attachment in enumerate(message.attachments or ()):
                _refuse_nul(f"messages[{index}].attachments[{place}].", attachment)
    _refuse_nul("", sent)
    for index, handle in enumerate(sent.participant_ids):
        if "\0" in handle or not handle.strip():
            raise BadRequest.field(f"participantIds[{index}]", "must not be blank or contain the character NUL")
    if not all(map(str.strip, {message.sender_id for message in messages})):
        for index, message in enumerate(messages):
            if not message.sender_id.strip():
                raise BadRequest.field(f"messages[{index}].senderId", "must not be blank")


def _refuse_nul(prefix: str, struct: MessageBatch | SyncedMessage | Attachment) -> None:
    for name in struct.__struct_fields__:
        value = getattr(struct, name)
        if isinstance(value, str) and "\0" in value:
            raise BadRequest.field(prefix + _camel(name), "must not contain the character NUL")


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
