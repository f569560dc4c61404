from uuid import UUID

from asyncpg import Record

from gateway.database import Db

# FOR SHARE makes a draft and a sync of the same thread take turns: either the draft no longer reads a text that is being retracted, or
# the retraction finds the draft's row. It must be a statement of its own, since a statement reads as of when it began, not as of when it
# got the lock.
LOCK_THREAD = """
    select id from conversation
    where account_id = $1 and id = (select conversation_id from message where account_id = $1 and id = $2)
    for share
"""
# What a prompt has no use for is left out before counting to the limit. Characters trimmed: white space and U+FFFC.
DRAFT_CONTEXT = r"""
    select chosen.conversation_id, chosen.direction as chosen_direction, chosen.message_type as chosen_type,
           chosen.retracted_at is not null as chosen_retracted,
           coalesce(btrim(chosen.text, E' \t\r\n\uFFFC'), '') <> '' as chosen_has_text,
           conversation.is_group, conversation.display_name as title, others.names,
           line.id, line.direction, line.sender_id, line.text, line.sent_at, line.attachment, contact.id as contact_id,
           contact.display_name as sender_name
    from message chosen
    join conversation on conversation.account_id = $1 and conversation.id = chosen.conversation_id
    cross join lateral (
        select array_agg(contact.display_name order by participant.id) as names
        from participant join contact on contact.account_id = $1 and contact.id = participant.contact_id
        where participant.conversation_id = chosen.conversation_id
    ) others
    left join lateral (
        select id, direction, sender_id, text, sent_at, attachments -> 0 ->> 'mimeType' as attachment
        from message
        where account_id = $1 and conversation_id = chosen.conversation_id and (sent_at, id) <= (chosen.sent_at, chosen.id)
          and message_type in ('text', 'attachment') and retracted_at is null
          and (btrim(text, E' \t\r\n\uFFFC') <> '' or (direction = 'incoming' and attachments is not null))
        order by sent_at desc, id desc
        limit $3
    ) line on true
    left join participant on participant.conversation_id = chosen.conversation_id and participant.handle = line.sender_id
    left join contact on contact.account_id = $1 and contact.id = participant.contact_id
    where chosen.account_id = $1 and chosen.id = $2
    order by line.sent_at, line.id
"""


async def lock_thread(db: Db, account_id: UUID, message_id: UUID) -> bool:
    """Hold off syncs of the message's thread until the transaction ends; False when there is no such message."""
    return await db.fetchval(LOCK_THREAD, account_id, message_id) is not None


async def draft_context(db: Db, account_id: UUID, message_id: UUID, max_history: int) -> list[Record]:
    """The chosen message and its thread, repeated on each line of the history up to it, oldest first."""
    return list(await db.fetch(DRAFT_CONTEXT, account_id, message_id, max_history))
