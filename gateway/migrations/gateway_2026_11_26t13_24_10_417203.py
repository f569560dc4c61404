from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import BigInt
from piccolo.columns.column_types import Integer
from piccolo.columns.indexes import IndexMethod

ID = "2026-11-26T13:24:10:417203"
VERSION = "1.38.0"
DESCRIPTION = "how much is stored, and how often a row was looked at in vain"


def counted(column_class, name):
    return {
        "column_name": name,
        "db_column_name": name,
        "column_class_name": column_class.__name__,
        "column_class": column_class,
        "params": {
            "default": 0,
            "null": False,
            "primary_key": False,
            "unique": False,
            "index": False,
            "index_method": IndexMethod.btree,
            "choices": None,
            "db_column_name": None,
            "secret": False,
        },
        "schema": None,
    }


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="gateway", description=DESCRIPTION
    )

    manager.add_column(
        table_class_name="Account",
        tablename="account",
        **counted(BigInt, "sample_bytes"),
    )
    manager.add_column(
        table_class_name="Conversation",
        tablename="conversation",
        **counted(BigInt, "stored_bytes"),
    )
    manager.add_column(
        table_class_name="Response",
        tablename="response",
        **counted(Integer, "attempts"),
    )
    manager.add_column(
        table_class_name="TrainingJob",
        tablename="training_job",
        **counted(Integer, "attempts"),
    )
    manager.add_column(
        table_class_name="DeletionOrder",
        tablename="deletion_order",
        **counted(Integer, "attempts"),
    )

    return manager
