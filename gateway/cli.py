"""`gateway serve | migrate`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable

import uvicorn

from gateway.database import migrate
from gateway.settings import Settings
from shared.settings import SettingsError, load


def main() -> None:
    """The `gateway` command."""
    parser = argparse.ArgumentParser(prog="gateway", description="The gateway of the conversation assistant.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="run the service")
    commands.add_parser("migrate", help="bring the database's schema up to date")
    arguments = parser.parse_args()
    actions: dict[str, Callable[[Settings], None]] = {"serve": _serve, "migrate": _migrate}
    try:
        settings = load(Settings, os.environ)
    except SettingsError as error:
        sys.exit(f"gateway: {error}\ngateway: every setting is described in docs/CONFIGURATION.md")
    actions[arguments.command](settings)


def _serve(settings: Settings) -> None:
    uvicorn.run(
        "gateway.main:app",
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies or None,
        timeout_graceful_shutdown=10,
    )


def _migrate(settings: Settings) -> None:
    try:
        print(asyncio.run(migrate(settings.database_url)))
    except (RuntimeError, OSError) as error:
        sys.exit(f"gateway: {error}")


if __name__ == "__main__":
    main()
