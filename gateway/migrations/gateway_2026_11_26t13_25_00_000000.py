from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-26T13:25:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "What is stored so far is counted once, and an account's waiting drafts are found without reading the others"

FORWARDS = [
    """
    update conversation set stored_bytes = counted.bytes from (
        select conversation_id, sum(500 + coalesce(octet_length(text), 0) + coalesce(pg_column_size(attachments), 0)) as bytes
        from message group by conversation_id
    ) counted where conversation.id = counted.conversation_id
    """,
    """
    update account set sample_bytes = counted.bytes from (
        select account_id, sum(
            500 + octet_length(messages::text) + coalesce(octet_length(output), 0) + coalesce(octet_length(rejected_output), 0)
        ) as bytes
        from sample group by account_id
    ) counted where account.id = counted.account_id
    """,
    "create index response_waiting on response (account_id) where request is not null",
]
BACKWARDS = ["drop index response_waiting"]


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
