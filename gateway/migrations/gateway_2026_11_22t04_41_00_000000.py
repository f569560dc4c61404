from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-22T04:41:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Indexes for the orders that pages are read in, and for search"

FORWARDS = [
    # Pages: newest first, with the id as the tie-breaker, so that the order is total.
    "create index message_by_time on message (conversation_id, sent_at desc, id desc)",
    "create index conversation_by_time on conversation (account_id, last_message_at desc nulls last, id desc)",
    "create index response_by_time on response (account_id, created_at desc, id desc)",
    "create index response_by_conversation on response (conversation_id)",
    "create index sample_by_time on sample (account_id, created_at desc, id desc)",
    # 'simple' because a person writes in more than one language.
    "create index message_text on message using gin (to_tsvector('simple', text)) where text is not null",
    "create index idempotent_answer_by_age on idempotent_answer (created_at)",
]
BACKWARDS = [
    "drop index message_by_time, conversation_by_time, response_by_time, response_by_conversation, sample_by_time, message_text,"
    " idempotent_answer_by_age"
]


async def run(statements: list[str]) -> None:
    engine = engine_finder()
    assert engine is not None
    for statement in statements:
        await engine.run_ddl(statement)


async def create() -> None:
    await run(FORWARDS)


async def drop() -> None:
    await run(BACKWARDS)


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
