"""`make backup FILE=…` and `make restore FILE=…`: the data of `make run`, for which only PostgreSQL is started.

A backup may be made while everything runs.
"""

import argparse
import os
import shutil
import sys
from contextlib import ExitStack

from deploy.local.processes import OWNER_ONLY, StartError
from deploy.local.servers import EmbeddedPostgres
from deploy.local.settings import LocalSettings
from deploy.local.stack import LocalStack, exclusive
from gateway.backup.command import run_backup, run_restore
from gateway.backup.settings import BackupSettings
from shared.settings import SettingsError, load


def main() -> None:
    """What goes wrong is the exit's message."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.backup", description="Backs up what `make run` keeps, and restores it.")
    parser.add_argument("action", choices=("backup", "restore"))
    parser.add_argument("file", metavar="FILE", help="the file, or - for standard output or input")
    parser.add_argument("--replace", action="store_true", help="restore: lose what is there, once the backup is in its place")
    arguments = parser.parse_args()
    if not arguments.file:
        sys.exit(f"Name the file: make {arguments.action} FILE=assistant.tar")
    os.umask(OWNER_ONLY)
    try:
        _move_data(LocalStack(load(LocalSettings, os.environ)), arguments)
    except (StartError, SettingsError) as error:
        sys.exit(str(error))


def _move_data(stack: LocalStack, arguments: argparse.Namespace) -> None:
    postgres = EmbeddedPostgres(stack.data_dir / "postgres", stack.data_dir / "logs" / "postgres.log")
    settings = load(BackupSettings, {**os.environ, "DATABASE_URL": postgres.url, "DATA_DIR": str(stack.data_dir)})
    if arguments.action == "backup" and not (stack.data_dir / "postgres").exists():
        raise StartError(f"There is nothing to back up in {stack.data_dir}: set DATA_DIR to the folder that `make run` has")
    with ExitStack() as running:
        if arguments.action == "restore" or not postgres.answers():
            running.enter_context(exclusive(stack.data_dir))
            stack.data_dir.chmod(0o700)
            running.callback(postgres.stop)
            postgres.start()
        if arguments.action == "backup":
            run_backup(settings, arguments.file)
        else:
            run_restore(settings, arguments.file, replace=arguments.replace)
            shutil.rmtree(stack.data_dir / "valkey", ignore_errors=True)  # queues, events and answers of what was there before


if __name__ == "__main__":
    main()
