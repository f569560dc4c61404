"""Tells Piccolo which tables there are and where their history lies."""

from pathlib import Path

from piccolo.conf.apps import AppConfig, table_finder

APP_CONFIG = AppConfig(
    app_name="gateway",
    migrations_folder_path=str(Path(__file__).parent / "migrations"),
    table_classes=table_finder(
        modules=[
            "gateway.devices.tables",
            "gateway.sync.tables",
            "gateway.responses.tables",
            "gateway.samples.tables",
            "gateway.training.tables",
            "gateway.adapters.tables",
            "gateway.deletions.tables",
            "gateway.idempotency.tables",
            "gateway.workspace.tables",
        ]
    ),
    migration_dependencies=[],
)
