from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-22T05:12:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "Deleting a device finds its drafts without reading everybody's"


async def create() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl("create index response_by_device on response (device_id)")


async def drop() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl("drop index response_by_device")


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(create)
    manager.add_raw_backwards(drop)
    return manager
