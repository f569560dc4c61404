"""Which of the columns of `chat.db` are there: macOS adds some with nearly every version."""

import sqlite3

_MESSAGE = (
    "guid", "text", "handle_id", "other_handle", "date", "is_from_me", "error", "item_type", "group_action_type", "group_title",
    "balloon_bundle_id", "associated_message_guid", "associated_message_type", "associated_message_emoji", "thread_originator_guid",
    "date_edited", "date_retracted", "schedule_type", "is_sent",
)  # fmt: skip
_WHERE_EDITED_OR_WITHOUT_TEXT = ("attributedBody", "message_summary_info", "payload_data")
"""Large, and of most rows not needed."""
ATTACHMENT = ("guid", "filename", "transfer_name", "mime_type", "total_bytes", "hide_attachment")
CHAT = ("guid", "style", "service_name", "chat_identifier", "display_name")
_REQUIRED = {
    "message": {"guid", "text", "handle_id", "date", "is_from_me"},
    "handle": {"id"},
    "chat": {"chat_identifier"},
    "chat_message_join": {"chat_id", "message_id"},
}


def missing(db: sqlite3.Connection) -> str | None:
    """What a database lacks to be one of Messages, if anything."""
    for table, needed in _REQUIRED.items():
        if lacking := needed - columns(db, table):
            return f"the table {table} with {', '.join(sorted(lacking))}"
    return None


def columns(db: sqlite3.Connection, table: str) -> set[str]:
    """The names of a table's columns; none if there is no such table."""
    return {row[1] for row in db.execute(f"pragma table_info({table})")}


def selection(there: set[str], wanted: tuple[str, ...], alias: str) -> str:
    """The wanted columns, null in place of those that are not there."""
    return ", ".join(f"{alias}.{name}" if name in there else f"null as {name}" for name in wanted)


def message_selection(db: sqlite3.Connection) -> str:
    """The columns of a message, the row's number first."""
    there = columns(db, "message")
    is_needed = f"m.text is null or m.text in ('', '\ufffc') or {edited_condition(db) or 'false'}"
    large = [
        f"case when {is_needed} then m.{name} end as {name}" if name in there else f"null as {name}"
        for name in _WHERE_EDITED_OR_WITHOUT_TEXT
    ]
    return f"select m.ROWID, {selection(there, _MESSAGE, 'm')}, {', '.join(large)} from message m"  # noqa: S608  # our own words


def edited_condition(db: sqlite3.Connection) -> str | None:
    """Which rows were edited or unsent; None where Messages could not do that yet.

    Some have no date of it: then the keys `ec` and `rp` in the property list tell it, as that writes them.
    """
    there = columns(db, "message")
    dates = [f"m.{name} > 0" for name in ("date_edited", "date_retracted") if name in there]
    keys = [f"instr(m.message_summary_info, x'52{key.encode().hex()}') > 0" for key in ("ec", "rp")]
    return " or ".join(dates + (keys if "message_summary_info" in there else [])) or None
