from piccolo.apps.migrations.auto.migration_manager import MigrationManager

ID = "2026-11-26T15:44:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "A training job and its adapter have one id"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="gateway", description=DESCRIPTION
    )

    manager.drop_column(
        table_class_name="Adapter",
        tablename="adapter",
        column_name="job_id",
        db_column_name="job_id",
        schema=None,
    )
    manager.drop_column(
        table_class_name="TrainingJob",
        tablename="training_job",
        column_name="adapter_id",
        db_column_name="adapter_id",
        schema=None,
    )

    return manager
