"""Threads that tests sync."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from assistant_client.models import MessageBatch, SyncedMessage

BEGIN = datetime(2026, 3, 6, 17, tzinfo=UTC)


def thread(*texts: str, name: str = "Sam") -> MessageBatch:
    """Messages that come in turn from the other side and from the owner, a minute apart."""
    return MessageBatch(
        conversation_imessage_id=uuid4().hex,
        conversation_display_name=name,
        participant_ids=["sam@example.com"],
        messages=[
            SyncedMessage(
                imessage_guid=uuid4().hex,
                sender_id="me" if number % 2 else "sam@example.com",
                direction="outgoing" if number % 2 else "incoming",
                message_type="text",
                text=text,
                sent_at=BEGIN + timedelta(minutes=number),
            )
            for number, text in enumerate(texts)
        ],
    )
