from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-22T05:57:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Queued drafts that may still have a job are found by when to look at them, and by their Idempotency-Key"

FORWARDS = [
    "create index response_by_look on response (look_at) where request is not null",
    "create index response_by_key on response (account_id, key_hash) where key_hash is not null",
]
BACKWARDS = ["drop index response_by_look, response_by_key"]


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
