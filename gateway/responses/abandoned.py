from datetime import timedelta

from gateway.database import Database
from gateway.events.publisher import EventPublisher
from gateway.responses import queries
from gateway.responses.service import events_of


class AbandonedDrafts:
    """Drafts that somebody waited for and whose gateway was killed."""

    def __init__(self, database: Database, events: EventPublisher, longest_draft: timedelta) -> None:
        """`longest_draft`: one that has been in work for longer has lost the gateway that wrote it."""
        self._database = database
        self._events = events
        self._longest_draft = longest_draft

    async def fail(self) -> None:
        """Close those of all accounts as failed, and tell their readers."""
        async with self._database.transaction() as db:
            drafts = await queries.fail_abandoned(db, self._longest_draft)
        for draft in drafts:
            self._events.publish_all(draft.account_id, events_of(draft))
