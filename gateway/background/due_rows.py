"""Rows that a reconciler looks at: each says when it is due next (`look_at`), and how often it was attempted since that last went well
(`attempts`).
"""

from uuid import UUID

from asyncpg import Record

from gateway.database import Db


class DueRows:
    """The statements about the due rows of a table. They are for all accounts: whichever gateway gets to a row first has it.

    A row is looked at less and less: next after half of the time that has gone by `since` this column's, but after `most` at the latest.

    Args:
        returning: the columns that are asked for, beside `account_id`, `id` and `attempts`.
        condition: which rows may be due; a partial index of `look_at` has the same.
    """

    def __init__(self, table: str, *, since: str, most: str, returning: str, condition: str = "look_at is not null") -> None:
        self._take = f"""
            update {table} set attempts = attempts + 1,
                look_at = now() + greatest(interval '10 seconds', least((now() - {since}) / 2, interval '{most}'))
            where id in (
                select id from {table} where {condition} and look_at <= now() order by look_at limit $1 for update skip locked
            )
            returning account_id, id, attempts, {returning}
        """  # noqa: S608
        self._reset_attempts = f"update {table} set attempts = 0 where id = $1 and attempts > 0"  # noqa: S608

    async def take(self, db: Db, limit: int) -> list[Record]:
        """Up to so many rows that are due, with this attempt counted; no other gateway gets them now."""
        return list(await db.fetch(self._take, limit))

    async def reset_attempts(self, db: Db, row_id: UUID) -> None:
        """Note that the last attempt did not fail."""
        await db.execute(self._reset_attempts, row_id)
