"""The ASGI target: `uvicorn gateway.main:app`. The only module that builds an app at import."""

import gc
import os

from gateway.app import create_app
from gateway.settings import Settings
from shared.logging import configure_logging
from shared.settings import load

settings = load(Settings, os.environ)
configure_logging("gateway", settings.log_format, settings.log_level)
app, end_streams = create_app(settings)

# What is there by now stays until the end, so the collector need not look through it again and again; and a request makes thousands of
# objects that go by themselves, so it need not look so often. Together a sixth of a draft's processor time.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 10, 10)
