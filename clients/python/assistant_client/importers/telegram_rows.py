"""The rows of Telegram's export (`result.json`): their form, and the messages that they become.

Telegram Desktop writes it (Settings → Advanced → Export Telegram data, as JSON). Names of fields are its own.
"""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Any

import msgspec
from msgspec import Struct

from assistant_client.importers.items import OWNER, DamagedRow, LeftOut
from assistant_client.models import Attachment, Direction, SyncedMessage

PREFIX = "telegram:"


class TextPart(Struct):
    text: str = ""


class ReactionOf(Struct):
    """Somebody's reaction."""

    from_id: str | None = None
    date: str | None = None


class Reaction(Struct):
    type: str = ""
    emoji: str | None = None
    recent: list[ReactionOf] = []


class Sender(Struct):
    """Who a row is from, and no more of it."""

    name: str | None = msgspec.field(default=None, name="from")
    from_id: str | None = None


class Row(Struct):
    """A message, or what happened in a chat (`type: service`)."""

    id: int
    type: str
    date: str | None = None
    date_unixtime: str | None = None
    edited_unixtime: str | None = None
    name: str | None = msgspec.field(default=None, name="from")
    from_id: str | None = None
    actor: str | None = None
    actor_id: str | None = None
    action: str | None = None
    title: str | None = None
    members: list[str | None] | None = None
    reply_to_message_id: int | None = None
    reply_to_peer_id: str | None = None
    forwarded_from: str | None = None
    text: str | list[str | TextPart] = ""
    file: str | None = None
    file_name: str | None = None
    file_size: int | None = None
    photo: str | None = None
    photo_file_size: int | None = None
    mime_type: str | None = None
    media_type: str | None = None
    location_information: Any = None
    contact_information: Any = None
    poll: Any = None
    reactions: list[Reaction] = []


def messages_of(row: Row, chat_id: int, owner_id: str, zone: tzinfo | None) -> Iterator[SyncedMessage | LeftOut]:
    """The messages that a row becomes: its own, and one for each reaction to it.

    Raises:
        DamagedRow: it lacks what every row has.
    """
    name = row_name(chat_id, row.id)
    if row.type not in ("message", "service"):
        yield LeftOut(name, "row of a kind that is not known")
        return
    sent_at = _time(row.date_unixtime, row.date, zone)
    if sent_at is None:
        raise DamagedRow("no date")
    sender = row.from_id or row.actor_id
    if sender is None:
        raise DamagedRow("nobody knows who sent it")
    common: dict[str, Any] = {"imessage_guid": guid_of(chat_id, row.id), "sent_at": sent_at} | _by(sender, owner_id)
    if row.type == "service":
        yield SyncedMessage(**common, message_type="system", text=_event(row))
        return
    message = _written(row, common, chat_id)
    yield message
    if isinstance(message, SyncedMessage):
        yield from _reactions(row, chat_id, owner_id, sent_at, zone)


def row_name(chat_id: int, number: int) -> str:
    return f"message {number} of chat {chat_id}"


def guid_of(chat_id: int, number: int) -> str:
    return f"{PREFIX}{chat_id}:{number}"


def plain_text(text: str | list[str | TextPart]) -> str | None:
    """A text, which Telegram writes in parts where something of it is bold, a link or a name."""
    whole = text if isinstance(text, str) else "".join(part if isinstance(part, str) else part.text for part in text)
    whole = whole.replace("\0", "")
    return whole if whole.strip() else None


def _written(row: Row, common: dict[str, Any], chat_id: int) -> SyncedMessage | LeftOut:
    text, file = plain_text(row.text), _attachment(row, chat_id)
    if text is None and file is None:
        what = "place, contact, poll or game" if row.location_information or row.contact_information or row.poll else "nothing in it"
        return LeftOut(row_name(chat_id, row.id), what)
    if row.forwarded_from is not None and common["direction"] == "outgoing" and text is not None:
        # Somebody else's words: as a text of the owner they would be learnt from.
        return SyncedMessage(**common, message_type="system", text=f"forwarded: {text}", attachments=[file] if file else None)
    edited_at = _time(row.edited_unixtime, None, None)
    is_here = row.reply_to_message_id is not None and row.reply_to_peer_id is None
    return SyncedMessage(
        **common,
        message_type="text" if text is not None else "attachment",
        text=text,
        edited_at=edited_at,
        reply_to_guid=guid_of(chat_id, row.reply_to_message_id) if is_here and row.reply_to_message_id else None,
        attachments=[file] if file else None,
    )


def _reactions(row: Row, chat_id: int, owner_id: str, sent_at: datetime, zone: tzinfo | None) -> Iterator[SyncedMessage]:
    """Only those of which the export says whose they are: of a group with many it has the latest."""
    for reaction in row.reactions:
        if reaction.type != "emoji" or not reaction.emoji:
            continue
        for each in reaction.recent:
            if each.from_id is None:
                continue
            mark = hashlib.blake2b(reaction.emoji.encode("utf-8", "replace"), digest_size=6).hexdigest()
            yield SyncedMessage(
                imessage_guid=f"{guid_of(chat_id, row.id)}:{each.from_id}:{mark}",
                **_by(each.from_id, owner_id),
                message_type="reaction",
                sent_at=_time(None, each.date, zone) or sent_at,
                associated_message_guid=guid_of(chat_id, row.id),
                associated_message_type=reaction.emoji,
            )


def _by(sender: str, owner_id: str) -> dict[str, Any]:
    direction: Direction = "outgoing" if sender == owner_id else "incoming"
    return {"sender_id": OWNER if sender == owner_id else PREFIX + sender, "direction": direction}


def _time(unix: str | None, local: str | None, zone: tzinfo | None) -> datetime | None:
    """The first of the two that is there; 0 stands for never."""
    try:
        if unix is not None and int(unix) != 0:
            return datetime.fromtimestamp(int(unix), UTC)
        if local is not None and unix is None:
            time = datetime.fromisoformat(local)
            return (time.replace(tzinfo=zone) if zone is not None else time.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise DamagedRow("a date that there is not") from error
    return None


def _event(row: Row) -> str:
    words = (row.action or "something happened").replace("_", " ")
    about = row.title or ", ".join(each for each in row.members or [] if each)
    return f"{words}: {about}" if about else words


def _attachment(row: Row, chat_id: int) -> Attachment | None:
    """A photo, or any other file; where it was not exported, the export has a sentence in brackets in its place."""
    path = row.photo or row.file
    if path is None:
        return None
    name = row.file_name or (None if path.startswith("(") else path.rpartition("/")[2])
    size = row.photo_file_size if row.photo else row.file_size
    return Attachment(
        guid=f"{guid_of(chat_id, row.id)}:file",
        mime_type=(row.mime_type or ("image/jpeg" if row.photo else None) or row.media_type or "")[:200] or None,
        filename=name[:500] if name else None,
        byte_size=size if size is not None and size >= 0 else None,
    )
