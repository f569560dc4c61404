"""`python -m ml_service` serves until it is told to stop."""

import os
import signal
import sys
from types import FrameType

import uvicorn

from ml_service import logs
from ml_service.app import create_app
from ml_service.models.catalogue import CatalogueError
from ml_service.settings import Settings
from shared.settings import SettingsError, load
from shared.tracing import configure_tracing


class Server(uvicorn.Server):
    """Stops gracefully at the first signal and at once at the second; leaves with status 0 after a graceful stop."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.should_exit:
            os._exit(128 + sig)  # the engine's processes end with this one
        self.should_exit = True


def main() -> int:
    try:
        settings = load(Settings, os.environ)
        logs.configure(settings)
        configure_tracing("ml_service", settings.otel_exporter_otlp_endpoint)
        app = create_app(settings)
    except (SettingsError, CatalogueError) as error:
        print(f"The ML service cannot start:\n{error}", file=sys.stderr)
        return 2
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_grace_seconds,
    )
    server = Server(config)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    status = main()
    # Not sys.exit: a model that is still being loaded in a thread would hold up the end by minutes. Its processes end with this one.
    sys.stdout.flush()
    sys.stderr.flush()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os._exit(status)
