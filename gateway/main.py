"""The ASGI target: `uvicorn gateway.main:app`. The only module that builds an app at import."""

import os

from gateway.app import create_app
from gateway.settings import Settings
from shared.logging import configure_logging
from shared.settings import load
from shared.tracing import configure_tracing

settings = load(Settings, os.environ)
configure_logging("gateway", settings.log_format, settings.log_level)
configure_tracing("gateway", settings.otel_exporter_otlp_endpoint)
app, announce_stop, end_streams = create_app(settings)
