"""What the gateway takes of a message (docs/API.md): one that it refused would hold up all others of its batch."""

from datetime import datetime

from assistant_client.models import Attachment, SyncedMessage

LONGEST_TEXT = 100_000
_LONGEST_GUID = 200
_LONGEST_HANDLE = 320
_LONGEST_EMOJI = 50
_LONGEST_MIME_TYPE = 200
_LONGEST_FILENAME = 500
_MOST_ATTACHMENTS = 100
_YEARS = range(1970, 2200)


def problem_of(message: SyncedMessage) -> str | None:
    """Why the gateway would refuse a message, without quoting it."""
    for time in (message.sent_at, message.edited_at, message.retracted_at):
        if time is not None and not _is_of_this_age(time):
            return "a date of another age"
    for guid in (message.imessage_guid, message.reply_to_guid, message.associated_message_guid):
        if guid is not None and not _is_guid(guid):
            return "a guid that is too long or not readable"
    if not is_handle(message.sender_id):
        return "a sender that is too long or not readable"
    if message.associated_message_emoji is not None and not _is_short(message.associated_message_emoji):
        return "an emoji that is too long or not readable"
    kind = message.associated_message_type
    if isinstance(kind, str) and not (kind and _is_short(kind)):
        return "a reaction of a kind that is too long or not readable"
    if message.text is not None:
        if len(message.text) > LONGEST_TEXT:
            return f"a text of more than {LONGEST_TEXT:,} characters"
        if not is_storable(message.text):
            return "a text that is not UTF-8"
    if len(message.attachments or ()) > _MOST_ATTACHMENTS:
        return f"more than {_MOST_ATTACHMENTS} attachments"
    if not all(map(_is_good, message.attachments or ())):
        return "an attachment's guid or name that is too long or not readable"
    return None


def is_handle(value: object) -> bool:
    """Whether somebody can be known by it."""
    return isinstance(value, str) and bool(value.strip()) and len(value) <= _LONGEST_HANDLE and is_storable(value)


def _is_guid(text: str) -> bool:
    return 0 < len(text) <= _LONGEST_GUID and is_storable(text)


def _is_good(attachment: Attachment) -> bool:
    """Whether nothing of an attachment is too long or unreadable."""
    if attachment.guid is not None and not _is_guid(attachment.guid):
        return False
    texts = ((attachment.mime_type, _LONGEST_MIME_TYPE), (attachment.filename, _LONGEST_FILENAME))
    return all(len(text) <= most and is_storable(text) for text, most in texts if text is not None)


def _is_short(text: str) -> bool:
    return len(text) <= _LONGEST_EMOJI and is_storable(text)


def _is_of_this_age(time: datetime) -> bool:
    return time.year in _YEARS


def storable(text: str) -> str:
    """A text without NUL, and with marks where it is no Unicode."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def is_storable(text: str) -> bool:
    """Whether it is Unicode without NUL; bytes that were none came in as lone surrogates."""
    if text.isascii():
        return "\0" not in text
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text
