from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-22T07:58:30:000000"
VERSION = "1.38.0"
DESCRIPTION = "What the samples so far answer, and when they were said"


async def fill_in() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl("update sample set replied_at = created_at, answered_id = message_ids[cardinality(message_ids)]")


async def keep() -> None:
    """The columns go with the migration before."""


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(fill_in)
    manager.add_raw_backwards(keep)
    return manager
