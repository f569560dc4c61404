"""`make pair`: `gateway pair` for what `make run` started."""

import os
import sys
from pathlib import Path
from typing import NoReturn

from deploy.local.processes import StartError
from deploy.local.servers import EmbeddedPostgres, EmbeddedValkey
from deploy.local.settings import LocalSettings
from deploy.local.stack import kept_secrets
from shared.settings import SettingsError, load


def main() -> NoReturn:
    """Become `gateway pair`, with the settings that the gateway has; the arguments are its own."""
    try:
        local = load(LocalSettings, os.environ)
        data_dir = Path(local.data_dir).resolve()
        if not (data_dir / "secrets.json").exists():
            raise StartError(f"There is nothing in {data_dir} yet: start it with `make run`")
        settings = {
            "DATABASE_URL": EmbeddedPostgres(data_dir / "postgres", data_dir / "logs" / "postgres.log").url,
            "REDIS_URL": EmbeddedValkey(data_dir / "valkey", data_dir / "logs" / "valkey.log").url,
            "PORT": str(local.gateway_port),
            **kept_secrets(data_dir / "secrets.json"),
        }
    except (StartError, SettingsError) as error:
        sys.exit(f"pair: {error}")
    command = [sys.executable, "-m", "gateway", "pair", *sys.argv[1:]]
    os.execve(command[0], command, {**os.environ, **settings})  # noqa: S606 - without a shell is what is wanted


if __name__ == "__main__":
    main()
