from collections.abc import Sequence
from uuid import UUID

from gateway.database import Db
from gateway.events.publisher import PendingEvent
from gateway.responses import queries
from gateway.responses.announcing import details_of_row, event_of
from gateway.training.service import SampleService
from gateway.wire import utc_now

_WITHDRAWN = "A message that this draft was made from was edited or retracted; ask for a new one"


class DraftsOfMessages:
    """What was made from messages, and goes when their text goes (sync's `ForgetsMessages`)."""

    def __init__(self, samples: SampleService) -> None:
        self._samples = samples

    async def forget_messages(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> list[PendingEvent]:
        """Take the messages out of drafts and samples.

        Prompts go. So does what the model wrote, because it may quote: a draft that waits for the owner is cancelled, one that is being
        written is stopped. What the owner accepted or wrote instead stays with the draft, since those are the owner's words. Samples go
        whole. The drafts come first: whoever acts on one holds its row, so its sample is there to be found, or never will be.
        """
        rows = await queries.forget(db, account_id, conversation_id, message_ids, _WITHDRAWN, utc_now())
        await self._samples.forget(db, account_id, conversation_id, message_ids)
        # What becomes of queued drafts is told by the reconciler, which ends their jobs.
        return [event_of(details_of_row(row)) for row in rows if row["withdrawn"] and not row["has_job"]]
