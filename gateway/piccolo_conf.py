"""What the `piccolo` command reads (`PICCOLO_CONF=gateway.piccolo_conf`); the service itself makes its own engine."""

import os

from piccolo.conf.apps import AppRegistry
from piccolo.engine.postgres import PostgresEngine

DB = PostgresEngine(config={"dsn": os.environ.get("DATABASE_URL", "")})
APP_REGISTRY = AppRegistry(apps=["gateway.piccolo_app"])
