"""`gateway serve | migrate | pair | backup | restore`."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable
from typing import get_args
from uuid import UUID

from gateway.auth.tokens import KeyRing
from gateway.backup.settings import BackupSettings
from gateway.database import Database, migrate
from gateway.devices.pairing import announce
from gateway.devices.schemas import Pairing, Platform
from gateway.server import serve
from gateway.settings import Settings
from shared.errors import AppError
from shared.settings import SettingsError, SettingsT, load


def main() -> None:
    """The `gateway` command."""
    parser = argparse.ArgumentParser(prog="gateway", description="The gateway of the conversation assistant.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("serve", help="run the service")
    commands.add_parser("migrate", help="bring the database's schema up to date")
    pair = commands.add_parser("pair", help="announce a device and print its id and code, also while REGISTRATION is closed")
    pair.add_argument("--name", default="New device", help="what the device is called in the account's list")
    pair.add_argument("--platform", default="macos", choices=get_args(Platform), help="default: macos")
    pair.add_argument("--account", type=UUID, help="id of the account that it joins; without it, it gets a new account")
    backup = commands.add_parser("backup", help="write the database and the adapters into one file: docs/BACKUP.md")
    backup.add_argument("file", metavar="FILE", help="the file, or - for standard output")
    restore = commands.add_parser("restore", help="put a backup into an empty database, and bring its schema up to date")
    restore.add_argument("file", metavar="FILE", help="the file, or - for standard input")
    restore.add_argument("--replace", action="store_true", help="lose what the database holds, once the backup is in its place")
    arguments = parser.parse_args()
    if arguments.command in ("backup", "restore"):
        _move_data(_load(BackupSettings), arguments)
        return
    actions: dict[str, Callable[[Settings], None]] = {
        "serve": _serve,
        "migrate": _migrate,
        "pair": lambda settings: _pair(settings, arguments.account, arguments.name, arguments.platform),
    }
    actions[arguments.command](_load(Settings))


def _load(settings_type: type[SettingsT]) -> SettingsT:
    try:
        return load(settings_type, os.environ)
    except SettingsError as error:
        sys.exit(f"gateway: {error}\ngateway: every setting is described in docs/CONFIGURATION.md")


def _move_data(settings: BackupSettings, arguments: argparse.Namespace) -> None:
    from gateway.backup.command import run_backup, run_restore  # with what reads buckets, which the other commands do without

    if arguments.command == "backup":
        run_backup(settings, arguments.file)
    else:
        run_restore(settings, arguments.file, replace=arguments.replace)


def _serve(settings: Settings) -> None:
    from gateway.main import announce_stop, app, end_streams  # builds it, which the other commands do without

    serve(settings, app, announce_stop, end_streams)


def _migrate(settings: Settings) -> None:
    try:
        print(asyncio.run(migrate(settings.database_url)))
    except (RuntimeError, OSError) as error:
        sys.exit(f"gateway: {error}")


def _pair(settings: Settings, account_id: UUID | None, name: str, platform: Platform) -> None:
    try:
        pairing = asyncio.run(_announce(settings, account_id, name, platform))
    except AppError as error:
        sys.exit(f"gateway: {error.message}")
    print(
        f"device id  {pairing.device_id}\ncode       {pairing.code}\nvalid to   {pairing.expires_at:%Y-%m-%d %H:%M:%S} UTC\n"
        f"browser    http://127.0.0.1:{settings.port}/#/pair/{pairing.device_id}/{pairing.code} (elsewhere: the gateway's own address)"
    )


async def _announce(settings: Settings, account_id: UUID | None, name: str, platform: Platform) -> Pairing:
    database = Database(settings.database_url, pool_size=1)
    await database.open()
    try:
        return await announce(database, KeyRing(settings.jwt_keys), account_id, name, platform)
    finally:
        await database.close()


if __name__ == "__main__":
    main()
