from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.engine import engine_finder

ID = "2026-11-22T07:57:30:000000"
VERSION = "1.38.0"
DESCRIPTION = "One running training a device, one active adapter an account; and the orders that training jobs are read in"

FORWARDS = [
    "create unique index training_job_running on training_job (device_id) where status in ('queued', 'training', 'evaluating')",
    "create unique index adapter_active on adapter (account_id) where active",
    "create index training_job_by_time on training_job (account_id, created_at desc, id desc)",
    "create index training_job_by_look on training_job (look_at) where look_at is not null",
    "create index adapter_by_time on adapter (account_id, created_at desc, id desc)",
    "create index file_deletion_by_look on file_deletion (look_at)",
]
BACKWARDS = [
    "drop index training_job_running, adapter_active, training_job_by_time, training_job_by_look, adapter_by_time, file_deletion_by_look"
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
