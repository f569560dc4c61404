from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import UUID, Array, Boolean
from piccolo.columns.defaults.uuid import UUID4
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-26T12:41:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "deletion orders name all that is to be forgotten"

_PLAIN = {
    "null": False,
    "primary_key": False,
    "unique": False,
    "index": False,
    "index_method": IndexMethod.btree,
    "choices": None,
    "db_column_name": None,
    "secret": False,
}


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)

    manager.rename_table(
        old_class_name="FileDeletion",
        old_tablename="file_deletion",
        new_class_name="DeletionOrder",
        new_tablename="deletion_order",
        schema=None,
    )
    for name in ("job_ids", "training_ids", "adapter_ids"):
        manager.add_column(
            table_class_name="DeletionOrder",
            tablename="deletion_order",
            column_name=name,
            db_column_name=name,
            column_class_name="Array",
            column_class=Array,
            params={
                **_PLAIN,
                "base_column": UUID(
                    default=UUID4(),
                    null=False,
                    primary_key=False,
                    unique=False,
                    index=False,
                    index_method=IndexMethod.btree,
                    choices=None,
                    db_column_name=None,
                    secret=False,
                ),
                "default": list,
            },
            schema=None,
        )
    manager.add_column(
        table_class_name="DeletionOrder",
        tablename="deletion_order",
        column_name="everything",
        db_column_name="everything",
        column_class_name="Boolean",
        column_class=Boolean,
        params={**_PLAIN, "default": False},
        schema=None,
    )
    manager.drop_column(
        table_class_name="DeletionOrder",
        tablename="deletion_order",
        column_name="adapter_id",
        db_column_name="adapter_id",
        schema=None,
    )

    return manager
