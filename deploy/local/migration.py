"""`make migration NAME=…`: writes the migration that leads from the newest one to what the tables say now.

It needs a database that has all migrations so far: a throw-away one is started and brought up to date for it.
"""

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from deploy.local.processes import StartError
from deploy.local.servers import EmbeddedPostgres
from gateway.database import migrate


def main() -> int:
    """Piccolo's own exit code; 2 when there is no name."""
    name = sys.argv[1].strip() if len(sys.argv) > 1 else ""
    if not name:
        print('Say what the migration does: make migration NAME="contacts have a birthday"', file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        postgres = EmbeddedPostgres(Path(folder) / "postgres", Path(folder) / "postgres.log")
        try:
            postgres.start()
            asyncio.run(migrate(postgres.url))
            environment = {**os.environ, "DATABASE_URL": postgres.url, "PICCOLO_CONF": "gateway.piccolo_conf"}
            command = [sys.executable, "-m", "piccolo.main", "migrations", "new", "gateway", "--auto", f"--desc={name}"]
            return subprocess.run(command, env=environment, check=False).returncode
        except StartError as error:
            print(error, file=sys.stderr)
            return 1
        finally:
            postgres.stop()


if __name__ == "__main__":
    sys.exit(main())
