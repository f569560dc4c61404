from collections.abc import Sequence
from uuid import UUID

from gateway.database import Db
from gateway.deletions.service import order_deletion
from gateway.events.publisher import PendingEvent
from gateway.idempotency.service import forget_answers
from gateway.responses import queries
from gateway.responses.service import events_of
from gateway.samples.service import SampleService
from gateway.sync.forgetting import Forgotten

_DELETED = "The conversation of this draft was deleted"
_WITHDRAWN = "A message that this draft was made from was edited or retracted; ask for a new one"


class DraftsOfMessages:
    """What was made from messages: it goes when their text goes, and where they go (sync's `MadeFromMessages`)."""

    def __init__(self, samples: SampleService) -> None:
        self._samples = samples

    async def forget_messages(self, db: Db, account_id: UUID, conversation_id: UUID, message_ids: Sequence[UUID]) -> Forgotten:
        """Take the messages out of drafts and samples, and order the ML service to do so.

        Prompts go. So does what the model wrote, because it may quote: a draft that waits for the owner is cancelled, one that is being
        written is stopped. What the owner accepted or wrote instead stays with the draft, since those are the owner's words. Samples go
        whole. The drafts come first: whoever acts on one holds its row, so its sample is there to be found, or never will be.
        """
        withdrawn = await queries.withdraw(db, account_id, conversation_id, message_ids, _WITHDRAWN)
        draft_ids = await queries.clear(db, account_id, conversation_id, message_ids)
        active_adapter_id = await self._samples.forget(db, account_id, conversation_id, message_ids)
        await order_deletion(db, account_id, job_ids=draft_ids)
        await forget_answers(db, account_id)
        return Forgotten(events=[event for stored in withdrawn for event in events_of(stored)], active_adapter_id=active_adapter_id)

    async def forget_conversation(self, db: Db, account_id: UUID, conversation_id: UUID) -> list[PendingEvent]:
        """End the drafts that are not finished, whose rows go with the thread in a moment; remove the samples, and order the ML service to
        forget its drafts. Whoever writes one of them finds it gone, and ends without a word of its own.
        """
        ended = await queries.end_of_conversation(db, account_id, conversation_id, _DELETED)
        draft_ids = await queries.recent_of(db, account_id, conversation_id)
        await self._samples.forget(db, account_id, conversation_id)
        await order_deletion(db, account_id, job_ids=draft_ids)
        await forget_answers(db, account_id)
        return [event for stored in ended for event in events_of(stored)]

    async def conversation_merged(self, db: Db, account_id: UUID, gone: UUID, into: UUID) -> None:
        """Move drafts and samples. The drafts come first: whoever acts on one holds its row, so its sample is there to be found, or comes
        with the conversation that the draft has then.
        """
        await queries.move(db, account_id, gone, into)
        await self._samples.conversation_merged(db, account_id, gone, into)
