from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-22T05:20:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Reading a page finds the reactions to its messages"


async def create() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl(
        "create index message_by_target on message (account_id, associated_message_guid) where associated_message_guid is not null"
    )


async def drop() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl("drop index message_by_target")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
