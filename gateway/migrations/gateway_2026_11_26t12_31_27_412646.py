from piccolo.apps.migrations.auto.migration_manager import MigrationManager
from piccolo.columns.column_types import Timestamptz
from piccolo.columns.column_types import Varchar
from piccolo.columns.indexes import IndexMethod
from piccolo.constraints import Unique

ID = "2026-11-26T12:31:27:412646"
VERSION = "1.38.0"
DESCRIPTION = "Contacts may have no name, and several may have a handle; people leave threads"


async def forwards():
    manager = MigrationManager(
        migration_id=ID, app_name="gateway", description=DESCRIPTION
    )

    manager.add_column(
        table_class_name="Participant",
        tablename="participant",
        column_name="left_at",
        db_column_name="left_at",
        column_class_name="Timestamptz",
        column_class=Timestamptz,
        params={
            "default": None,
            "null": True,
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

    manager.alter_column(
        table_class_name="Contact",
        tablename="contact",
        column_name="display_name",
        db_column_name="display_name",
        params={"default": None, "null": True},
        old_params={"default": "", "null": False},
        column_class=Varchar,
        old_column_class=Varchar,
        schema=None,
    )

    manager.drop_constraint(
        table_class_name="ContactHandle",
        tablename="contact_handle",
        constraint_name="contact_handle_handle",
        schema=None,
    )

    manager.add_constraint(
        table_class_name="ContactHandle",
        tablename="contact_handle",
        constraint_name="contact_handle_owner",
        constraint_class=Unique,
        params={
            "columns": ["account_id", "handle", "contact_id"],
            "nulls_distinct": True,
        },
        schema=None,
    )

    return manager
