from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-26T12:31:20:100000"
VERSION = "1.38.0"
DESCRIPTION = "Tokens from before a device's last pairing stay void; those issued so far count whole seconds"


async def fill_in() -> None:
    engine = engine_finder()
    assert engine is not None
    await engine.run_ddl("update device set tokens_valid_after = date_trunc('second', verified_at) - interval '1 microsecond'")


async def keep() -> None:
    """The column goes with the migration before."""


async def forwards() -> MigrationManager:
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)
    manager.add_raw(fill_in)
    manager.add_raw_backwards(keep)
    return manager
