"""`make load MINUTES=5`: many devices go through a mixed day, squeezed into minutes, against a running gateway or a system of its own.

The devices are locust's users, in a process of their own: locust makes the standard library's blocking calls yield to others (gevent), in
the whole process that imports it. It fails with a sentence for each promise that was broken, and writes what it saw to `.benchmarks/`.
"""

import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.load.arguments import parse
from tests.load.system import running_system


def main() -> int:
    arguments = parse()
    with ExitStack() as stack:
        given = sys.argv[1:]
        if arguments.url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="load-")))
            print(f"starting PostgreSQL, Valkey, the ML service ({arguments.engine}), a worker and a gateway", flush=True)
            given += ["--url", stack.enter_context(running_system(folder, arguments.engine))]
        try:
            return subprocess.run([sys.executable, "-m", "tests.load.run", *given], check=False).returncode
        except KeyboardInterrupt:
            return 130


if __name__ == "__main__":
    sys.exit(main())
