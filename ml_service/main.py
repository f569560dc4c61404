"""The ASGI target, `ml_service.main:app`; the only module that builds an app when it is imported."""

import os

from ml_service import logs
from ml_service.app import create_app
from ml_service.settings import Settings
from shared.settings import load
from shared.tracing import configure_tracing

settings = load(Settings, os.environ)
logs.configure(settings)
configure_tracing("ml_service", settings.otel_exporter_otlp_endpoint)
app = create_app(settings)
