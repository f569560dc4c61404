"""Makes of a row of `message` what the gateway takes, or says why not."""

import plistlib
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from assistant_client.importers.apple.attributed import ATTACHMENT, AttributedText, attributed_text
from assistant_client.importers.apple.edits import LastVersion, last_version, tells_of_edits
from assistant_client.importers.apple.group_events import group_event
from assistant_client.importers.items import OWNER, DamagedRow, LeftOut, Thread
from assistant_client.models import Attachment, SyncedMessage

URL_BALLOON = "com.apple.messages.URLBalloonProvider"
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)
_MOST_SECONDS = 10**11
"""Of dates in seconds; what is more is nanoseconds, as since macOS 10.13."""
_STICKER = 1000
_OF_AN_APP = " \t\r\n\ufffd"
"""What an app's message has for a text."""
_POLL_VOTES = range(4000, 5000)
_PART_OF_AN_APP = (2, 3)
NOTHING_IN_IT = "nothing in it"


def row_name(rowid: int) -> str:
    return f"message {rowid}"


def apple_time(value: object) -> datetime | None:
    """A time of `chat.db`: seconds or nanoseconds since 2001; None for none.

    Raises:
        DamagedRow: it is no number, or of another age.
    """
    if value is None or value == 0:
        return None
    if not isinstance(value, int | float):
        raise DamagedRow("a date that is no number")
    try:
        microseconds = int(value * 1_000_000) if abs(value) < _MOST_SECONDS else int(value) // 1_000
        return _EPOCH + timedelta(microseconds=microseconds)
    except (OverflowError, ValueError) as error:
        raise DamagedRow("a date of another age") from error


def message_of(row: sqlite3.Row, thread: Thread, handles: Mapping[int, str], attachments: list[Attachment]) -> SyncedMessage | LeftOut:
    """The message that a row is now.

    Raises:
        ValueError: the row is damaged (`DamagedRow`, or that its text cannot be read).
    """
    sent_at = apple_time(row["date"])
    if sent_at is None:
        raise DamagedRow("no date")
    is_mine = bool(row["is_from_me"])
    if reason := _why_left_out(row, is_mine):
        return LeftOut(row_name(row["ROWID"]), reason)
    sender_id = OWNER if is_mine else _sender(row, thread, handles)
    common: dict[str, Any] = {
        "imessage_guid": _guid(row), "sender_id": sender_id, "direction": "outgoing" if is_mine else "incoming", "sent_at": sent_at,
    }  # fmt: skip
    if row["item_type"]:
        other = handles.get(row["other_handle"] or 0)
        event = group_event(row["item_type"], row["group_action_type"] or 0, row["group_title"], other)
        if event.text is None:
            return LeftOut(row_name(row["ROWID"]), event.reason)
        return SyncedMessage(**common, message_type="system", text=event.text)
    if reaction := _reaction(row):
        return SyncedMessage(**common, message_type="reaction", **reaction)
    return _written(row, common, attachments)


def _written(row: sqlite3.Row, common: dict[str, Any], attachments: list[Attachment]) -> SyncedMessage | LeftOut:
    """A message that somebody wrote, as it is after edits."""
    changed = apple_time(row["date_edited"]) or apple_time(row["date_retracted"])
    common["reply_to_guid"] = row["thread_originator_guid"] or None
    text, last = _text(row)
    if changed is None and last is not None:
        changed = apple_time(last.changed) or common["sent_at"]
    if (last is not None and last.is_unsent) or (row["date_retracted"] and text is None and not attachments):
        return SyncedMessage(**common, message_type="text", retracted_at=changed)
    if text is None and not attachments:
        return LeftOut(row_name(row["ROWID"]), NOTHING_IN_IT)
    return SyncedMessage(
        **common, message_type="text" if text is not None else "attachment", text=text, edited_at=changed, attachments=attachments or None
    )


def _why_left_out(row: sqlite3.Row, is_mine: bool) -> str | None:
    kind = row["associated_message_type"] or 0
    if kind in _POLL_VOTES:
        return "vote in a poll"
    if kind in _PART_OF_AN_APP and row["associated_message_guid"]:
        return "update of a preview or of an app's message"
    if row["schedule_type"] and row["is_sent"] == 0:
        return "scheduled and not sent"
    if is_mine and row["error"]:
        return "could not be sent"
    return None


def _guid(row: sqlite3.Row) -> str:
    if not isinstance(row["guid"], str) or not row["guid"]:
        raise DamagedRow("no guid")
    return row["guid"]


def _sender(row: sqlite3.Row, thread: Thread, handles: Mapping[int, str]) -> str:
    if handle := handles.get(row["handle_id"] or 0):
        return handle
    if row["item_type"] and (handle := handles.get(row["other_handle"] or 0)):
        return handle
    if not thread.is_group and len(thread.participant_ids) == 1:
        return thread.participant_ids[0]
    raise DamagedRow("nobody knows who sent it")


def _reaction(row: sqlite3.Row) -> dict[str, Any] | None:
    """The fields of a tapback, a sticker on a message, or taking one back."""
    kind = row["associated_message_type"] or 0
    if kind != _STICKER and not 2000 <= kind < 4000:
        return None
    target = target_guid(row["associated_message_guid"])
    if target is None:
        raise DamagedRow("a reaction to nothing")
    emoji = row["associated_message_emoji"] or None
    return {
        "associated_message_guid": target,
        "associated_message_type": "sticker" if kind == _STICKER else kind,
        "associated_message_emoji": emoji,
        "text": _text(row)[0] if kind % 1000 == 6 and emoji is None else None,  # there older versions have the emoji
    }


def target_guid(associated: str | None) -> str | None:
    """The message that a reaction is about: `p:0/GUID` is a part of it, `bp:GUID` its balloon."""
    if not associated:
        return None
    if associated.startswith("bp:"):
        return associated[3:].removeprefix("//") or None
    return associated.rpartition("/")[2] if associated.startswith("p:") else associated


def _text(row: sqlite3.Row) -> tuple[str | None, LastVersion | None]:
    """What is to be read of a message, and its last version if it was edited or unsent."""
    written = row["text"]
    if written is not None and not isinstance(written, str):
        raise DamagedRow("a text that is none")
    body = _body(row, written)
    if isinstance(summary := row["message_summary_info"], bytes) and (row["date_edited"] or tells_of_edits(summary)):
        try:
            last = last_version(summary, body.parts if body is not None else {})
        except ValueError:
            if row["date_edited"] and (body is None or not body.text):
                raise
        else:
            if last.is_edited:
                return readable(last.text), last
    text = readable(body.text if body is not None else written)
    if text is None and row["balloon_bundle_id"] == URL_BALLOON:
        text = _address(row["payload_data"])
    return text, None


def _body(row: sqlite3.Row, written: str | None) -> AttributedText | None:
    body = row["attributedBody"]
    if not isinstance(body, bytes) or not body:
        return AttributedText(written, {0: written}) if written else None
    try:
        return attributed_text(body)
    except ValueError:
        if readable(written) is None:
            raise
        return AttributedText(written or "", {0: written or ""})


def readable(text: str | None) -> str | None:
    """A text without what stands for attachments and without NUL, which no database stores; None if nothing is left."""
    if text is None:
        return None
    plain = text.replace(ATTACHMENT, "").replace("\0", "") if ATTACHMENT in text or "\0" in text else text
    return plain if plain.strip(_OF_AN_APP) else None


def _address(payload: object) -> str | None:
    """The address that a link's preview is of, out of its archive."""
    if not isinstance(payload, bytes):
        return None
    try:
        objects = plistlib.loads(payload, fmt=plistlib.FMT_BINARY)["$objects"]
    except (ValueError, RecursionError, KeyError, TypeError, MemoryError, AttributeError):
        return None
    return next((each for each in objects if isinstance(each, str) and each.startswith(("http://", "https://"))), None)
