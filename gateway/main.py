"""The ASGI target: `uvicorn gateway.main:app`. The only module that builds an app at import."""

import os

from gateway.app import create_app
from gateway.settings import Settings
from shared.logging import configure_logging
from shared.settings import load

settings = load(Settings, os.environ)
configure_logging("gateway", settings.log_format, settings.log_level)
app, end_streams = create_app(settings)
