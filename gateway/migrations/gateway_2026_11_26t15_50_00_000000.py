from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import UUID
from piccolo.columns.defaults.uuid import UUID4
from piccolo.columns.indexes import IndexMethod
from piccolo.constraints import Unique

ID = "2026-11-26T15:50:00:000000"
VERSION = "1.38.0"
DESCRIPTION = "an idempotent answer has an owner, and an id for what its request creates, which a queued draft then has"


async def forwards():
    manager = MigrationManager(migration_id=ID, app_name="gateway", description=DESCRIPTION)

    manager.rename_column(
        table_class_name="IdempotentAnswer",
        tablename="idempotent_answer",
        old_column_name="scope",
        new_column_name="owner",
        old_db_column_name="scope",
        new_db_column_name="owner",
        schema=None,
    )
    manager.add_constraint(
        table_class_name="IdempotentAnswer",
        tablename="idempotent_answer",
        constraint_name="idempotent_answer_owner",
        constraint_class=Unique,
        params={"columns": ["owner", "key_hash"], "nulls_distinct": True},
        schema=None,
    )
    manager.drop_constraint(
        table_class_name="IdempotentAnswer",
        tablename="idempotent_answer",
        constraint_name="idempotent_answer_key",
        schema=None,
    )
    manager.add_column(
        table_class_name="IdempotentAnswer",
        tablename="idempotent_answer",
        column_name="created_id",
        db_column_name="created_id",
        column_class_name="UUID",
        column_class=UUID,
        params={
            "default": UUID4(),
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        schema=None,
    )
    manager.drop_column(
        table_class_name="IdempotentAnswer",
        tablename="idempotent_answer",
        column_name="status",
        db_column_name="status",
        schema=None,
    )
    manager.drop_column(
        table_class_name="Response",
        tablename="response",
        column_name="key_hash",
        db_column_name="key_hash",
        schema=None,
    )

    return manager
