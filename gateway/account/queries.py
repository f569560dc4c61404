"""What belongs to an account, kind by kind, and its end. The export shows what the API shows, under the same names."""

from collections.abc import AsyncIterator
from uuid import UUID

from asyncpg import Record

from gateway.database import Db

BATCH_ROWS = 500
# Large accounts take longer than the pool's usual limit for a statement.
_DELETE_SECONDS = 600

# One view of the data for the whole export, whatever is written meanwhile; and a reader that stalls does not hold it for ever.
SNAPSHOT = "set transaction isolation level repeatable read read only"
STALL_LIMIT = "set local idle_in_transaction_session_timeout = '60s'"

EXPORTS = {
    "account": 'select id, created_at as "createdAt" from account where id = $1',
    "devices": """
        select id, name, hardware_id as "hardwareId", platform, os_version as "osVersion", status, created_at as "createdAt",
            verified_at as "verifiedAt", last_seen_at as "lastSeenAt"
        from device where account_id = $1 order by id
    """,
    "contacts": """
        select id, apple_id as "appleId", phone_number as "phoneNumber", email, display_name as "displayName", avatar_hash as "avatarHash",
            created_at as "createdAt", updated_at as "updatedAt",
            array(select h.handle from contact_handle h where h.contact_id = contact.id order by h.handle) as handles
        from contact where account_id = $1 order by id
    """,
    "conversations": """
        select id, imessage_id as "imessageId", display_name as "displayName", is_group as "isGroup", message_count as "messageCount",
            last_message_at as "lastMessageAt", created_at as "createdAt", updated_at as "updatedAt",
            (select coalesce(jsonb_agg(jsonb_build_object('id', p.id, 'handle', p.handle, 'contactId', p.contact_id)), '[]')
                from participant p where p.conversation_id = conversation.id) as participants
        from conversation where account_id = $1 order by id
    """,
    "messages": """
        select id, conversation_id as "conversationId", imessage_guid as "imessageGuid", sender_id as "senderId", direction,
            message_type as "messageType", text, sent_at as "sentAt", edited_at as "editedAt", retracted_at as "retractedAt",
            reply_to_guid as "replyToGuid", associated_message_guid as "associatedMessageGuid",
            associated_message_type as "associatedMessageType", attachments
        from message where account_id = $1
    """,
    "responses": """
        select id, conversation_id as "conversationId", message_id as "messageId", device_id as "deviceId", status, text as response,
            candidates, confidence, model_version as "modelVersion", tokens_used as "tokensUsed", cached, error,
            created_at as "createdAt", completed_at as "completedAt", action, edited_response as "editedResponse",
            rejection_reason as "rejectionReason", sample_id as "sampleId", acted_at as "actedAt"
        from response where account_id = $1
    """,
    "samples": """
        select id, source, messages, output, rejected_output as "rejectedOutput", quality, conversation_id as "conversationId",
            response_id as "responseId", replied_at as "repliedAt", created_at as "createdAt",
            coalesce((
                select turn ->> 'content' from jsonb_array_elements(messages) with ordinality as each (turn, number)
                where turn ->> 'role' = 'user' order by number desc limit 1
            ), '') as input
        from sample where account_id = $1
    """,
    "training_jobs": """
        select id, status, progress, error, method, base_model as "baseModel", device_id as "deviceId", epochs,
            learning_rate as "learningRate", sample_ids as "sampleIds", epoch, step, total_steps as "totalSteps", loss,
            eval_loss as "evalLoss", baseline_eval_loss as "baselineEvalLoss", activated, activation_note as "activationNote",
            adapter_id as "adapterId", history, comparisons, created_at as "createdAt", started_at as "startedAt",
            completed_at as "completedAt"
        from training_job where account_id = $1
    """,
    "adapters": """
        select id, job_id as "jobId", base_model as "baseModel", created_at as "createdAt", eval_loss as "evalLoss",
            baseline_eval_loss as "baselineEvalLoss", active, stale
        from adapter where account_id = $1
    """,
}

FORGET_ANSWERS = "delete from idempotent_answer where scope = $1"
DELETE = "delete from account where id = $1"


async def take_snapshot(db: Db) -> None:
    """The first thing in the export's transaction."""
    await db.execute(SNAPSHOT)
    await db.execute(STALL_LIMIT)


async def rows_of(db: Db, account_id: UUID, kind: str) -> AsyncIterator[list[Record]]:
    """All rows of a kind, a batch at a time; the server keeps the rest."""
    cursor = await db.cursor(EXPORTS[kind], account_id)
    while batch := await cursor.fetch(BATCH_ROWS):
        yield batch


async def delete(db: Db, account_id: UUID) -> None:
    """The account and, by cascade, all that hangs on it."""
    await db.execute(FORGET_ANSWERS, str(account_id))
    await db.execute(DELETE, account_id, timeout=_DELETE_SECONDS)
