"""Rows as what a prompt is made of."""

from collections.abc import Sequence

from asyncpg import Record

from gateway.conversations.prompt import Line, Thread


def thread_of(row: Record) -> Thread:
    return Thread(is_group=row["is_group"], title=row["title"], names=row["names"] or ())


def lines_of(rows: Sequence[Record]) -> list[Line]:
    """The messages of rows, some of which may have none."""
    return [
        Line(
            id=row["id"],
            direction=row["direction"],
            speaker=str(row["contact_id"] or row["sender_id"]),
            sent_at=row["sent_at"],
            text=row["text"],
            name=row["sender_name"],
            attachment=row["attachment"],
        )
        for row in rows
        if row["id"] is not None
    ]
