"""A batch of messages as it came in: what no schema can say about it, and how its messages are stored."""

from dataclasses import dataclass
from datetime import datetime

from gateway.message_text.blank import shown
from gateway.message_text.phone_reports import emoji_of
from gateway.sync.handles import handle_of, is_group_identifier, peer_of
from gateway.sync.merging import Content
from gateway.sync.schemas import MessageBatch, SyncedMessage
from shared.errors import BadRequest

_FIRST_YEAR, _LAST_YEAR = 1970, 2199


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """A batch that may be stored."""

    imessage_id: str
    display_name: str | None
    is_group: bool | None
    """None: the client does not say."""
    peer: str | None
    """Of a chat with one person: the handle, if the chat's identifier says it."""
    listed: list[str]
    """Who is in the conversation now; nobody, if the client does not say."""
    participants: list[str]
    """Who is listed, and who wrote one of the messages."""
    messages: dict[str, Content]
    """By guid, without repetitions, in the order sent: so messages of the same time keep that order."""


def checked(sent: MessageBatch) -> Batch:
    """See that a batch may be stored.

    Raises:
        BadRequest: names the field at fault, such as `messages[3].sentAt`; then nothing of the batch is stored.
    """
    is_group = True if sent.is_group is None and is_group_identifier(sent.conversation_imessage_id) else sent.is_group
    messages = _distinct(sent.messages)
    senders = {sender_id: handle_of(sender_id) for sender_id in {message.sender_id for message in sent.messages}}
    listed = list(dict.fromkeys(map(handle_of, sent.participant_ids)))
    others = {senders[message.sender_id] for message in messages.values() if message.direction == "incoming"}
    return Batch(
        imessage_id=sent.conversation_imessage_id,
        display_name=sent.conversation_display_name or None,
        is_group=is_group,
        peer=None if is_group else peer_of(sent.conversation_imessage_id),
        listed=listed,
        participants=list(dict.fromkeys([*listed, *sorted(others)])),
        messages={guid: _content(message, senders[message.sender_id]) for guid, message in messages.items()},
    )


def _distinct(messages: list[SyncedMessage]) -> dict[str, SyncedMessage]:
    """By guid. The same message twice is one; two that differ are refused, since nobody can tell which is meant."""
    distinct: dict[str, SyncedMessage] = {}
    for index, message in enumerate(messages):
        _check_time(f"messages[{index}].sentAt", message.sent_at)
        _check_time(f"messages[{index}].editedAt", message.edited_at)
        _check_time(f"messages[{index}].retractedAt", message.retracted_at)
        if distinct.setdefault(message.imessage_guid, message) != message:
            raise BadRequest.field(f"messages[{index}].imessageGuid", "was sent before in this batch with other content; send it once")
    return distinct


def _check_time(field: str, time: datetime | None) -> None:
    if time is not None and not _FIRST_YEAR <= time.year <= _LAST_YEAR:
        raise BadRequest.field(field, f"must lie in the years {_FIRST_YEAR} to {_LAST_YEAR}")


def _content(message: SyncedMessage, sender_id: str) -> Content:
    """A message as it is stored: each field under its own name; of a retracted one neither text nor attachments."""
    is_retracted = message.retracted_at is not None
    fields = {name: getattr(message, name) for name in Content.__struct_fields__}
    fields |= {
        "sender_id": sender_id,
        "text": None if is_retracted else message.text,
        "associated_message_guid": _target_guid(message.associated_message_guid),
        "associated_message_type": _reaction_type(message),
        "attachments": None if is_retracted else message.attachments or None,
    }
    return Content(**fields)


def _target_guid(associated: str | None) -> str | None:
    """The guid of the message that a reaction is about: iMessage writes the part of it in front (`p:0/GUID`, `bp:GUID`)."""
    if associated is None or not associated.startswith(("p:", "bp:")):
        return associated
    part, _, guid = associated.partition("/" if associated.startswith("p:") else ":")
    return guid or part


def _reaction_type(message: SyncedMessage) -> str | None:
    """Which reaction a message is, as it is stored: of one with an emoji (Apple's 2006) the emoji, which phones write beside it."""
    kind = message.associated_message_type
    if kind is None:
        return None
    if str(kind) in ("2006", "emoji"):
        return shown(message.associated_message_emoji) or emoji_of(message.text or "") or str(kind)
    return str(kind)
