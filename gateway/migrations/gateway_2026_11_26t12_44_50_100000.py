from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-26T12:44:50:100000"
VERSION = "1.38.0"
DESCRIPTION = "Direct chats are found by whom they are with"


async def create() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl("create index direct_chat_by_peer on direct_chat (account_id, peer)")


async def drop() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl("drop index direct_chat_by_peer")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
