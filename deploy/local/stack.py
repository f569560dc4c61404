"""The processes of the project on one machine: which there are, in which order, and what each is told."""

import asyncio
import fcntl
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import httpx
import psutil

from deploy.local.postgres import EmbeddedPostgres
from deploy.local.processes import ChildProcess, StartError
from deploy.local.restarts import Part, Restarts
from deploy.local.secrets import keep_secrets
from deploy.local.settings import LocalSettings
from deploy.local.valkey import EmbeddedValkey
from gateway.database import migrate
from ml_service.models.catalogue import has_gpu
from ml_service.models.number_format import cpu_number_format

_MODEL_SECONDS = 900
"""How long the ML service may take to load its model: a large one from a slow disk takes minutes."""


Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do at the start; `run` is given a function that shows how far it is."""

    name: str
    run: Callable[[Report], None]


class LocalStack:
    """Everything that `make run` starts. `steps()` starts it in order; `stop()` ends it in the opposite order."""

    def __init__(self, settings: LocalSettings) -> None:
        self._settings = settings
        self.data_dir = Path(settings.data_dir).resolve()
        self.logs = self.data_dir / "logs"
        self.gateway_url = f"http://127.0.0.1:{settings.gateway_port}"
        self.ml_service_url = f"http://127.0.0.1:{settings.ml_service_port}"
        self._started: list[Part] = []

    def prepare(self) -> None:
        """Make the data folder and see that nothing is in the way.

        Raises:
            StartError: the folder cannot be written, or a port is taken.
        """
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            self.data_dir.chmod(0o700)  # one of the time when others could read in it, too
            probe = self.data_dir / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise StartError(
                f"The data folder {self.data_dir} cannot be written ({error.strerror}): set DATA_DIR to one that can"
            ) from error
        for port, name in ((self._settings.gateway_port, "GATEWAY_PORT"), (self._settings.ml_service_port, "ML_SERVICE_PORT")):
            _check_port_free(port, name)
        self._postgres = EmbeddedPostgres(self.data_dir / "postgres", self.logs / "postgres.log")
        self._valkey = EmbeddedValkey(self.data_dir / "valkey", self.logs / "valkey.log")
        environment = self._environment()
        self._ml_service = self._python(
            "ML service", "ml_service", ["-m", "ml_service"], environment, PORT=str(self._settings.ml_service_port)
        )
        self._gateway = self._python(
            "Gateway", "gateway", ["-m", "gateway", "serve"], environment,
            PORT=str(self._settings.gateway_port), HOST=self._settings.gateway_host,
        )  # fmt: skip
        self._generation_worker = self._python(
            "Generation worker", "generation_worker", ["-m", "ml_service.jobs", "generation"], environment
        )
        self._training_worker = self._python("Training worker", "training_worker", ["-m", "ml_service.jobs", "training"], environment)
        self._environment_for_children = environment

    def steps(self) -> Iterator[Step]:
        """The start, one step after the other."""
        yield Step("PostgreSQL", lambda _: self._start(self._postgres))
        yield Step("Valkey", lambda _: self._start(self._valkey))
        yield Step("Database schema", lambda _: self._migrate())
        yield Step("Model files", self._unpack_model)
        yield Step("ML service", self._start_ml_service)
        yield Step("Generation worker", lambda _: self._start(self._generation_worker))
        yield Step("Training worker", lambda _: self._start(self._training_worker))
        yield Step("Gateway", lambda _: self._start_gateway())

    def stop(self) -> Iterator[str]:
        """Stop what was started, last first; yields each name when it has ended."""
        while self._started:
            part = self._started.pop()
            part.stop()
            yield part.process.name

    def restarts(self, report: Report) -> Restarts:
        """Looks after what was started."""
        return Restarts(self._started, report)

    def _environment(self) -> dict[str, str]:
        secrets = keep_secrets(self.data_dir / "secrets.json")
        return {
            "LOG_FORMAT": "console",
            **os.environ,
            "DATABASE_URL": self._postgres.url,
            "REDIS_URL": self._valkey.url,
            "JWT_KEYS": secrets.jwt_keys,
            "ML_SERVICE_URL": self.ml_service_url,
            "ML_SERVICE_TOKEN": secrets.ml_service_token,
            "DATA_DIR": str(self.data_dir),
            "HOST": "127.0.0.1",
        }

    def _python(self, name: str, log_name: str, arguments: list[str], environment: dict[str, str], **own: str) -> ChildProcess:
        return ChildProcess(name, [sys.executable, *arguments], log_path=self.logs / f"{log_name}.log", environment={**environment, **own})

    def _start(self, part: Part) -> None:
        self._started.append(part)
        part.start()

    def _migrate(self) -> None:
        try:
            asyncio.run(migrate(self._postgres.url))
        except RuntimeError as error:
            (self.logs / "migrations.log").write_text(str(error))
            raise StartError(
                f"The database's schema could not be brought up to date; what it said is in {self.logs / 'migrations.log'}"
            ) from error

    def _unpack_model(self, report: Report) -> None:
        unpack = self._python(
            "The model's unpacking",
            "model",
            ["-m", "ml_service.models", "--data-dir", str(self.data_dir)],
            self._environment_for_children,
        )
        self._start(unpack)
        report("unpacked once")
        unpack.wait_until(lambda: unpack.exit_code == 0, timeout=_MODEL_SECONDS)
        self._started.remove(unpack)

    def _start_ml_service(self, report: Report) -> None:
        headers = {"Authorization": f"Bearer {self._environment_for_children['ML_SERVICE_TOKEN']}"}

        wanted = self._environment_for_children.get("CPU_NUMBER_FORMAT", "auto")
        computing = "" if has_gpu() else f", computing in {cpu_number_format('auto') if wanted == 'auto' else wanted}"

        def ready() -> bool:
            try:
                answer = httpx.get(f"{self.ml_service_url}/health", timeout=5, headers=headers)
            except httpx.HTTPError:
                report("starting")
                return False
            report(f"{answer.json()['status']} the model" if answer.status_code != 200 else f"ready{computing}")
            return answer.status_code == 200

        self._start(self._ml_service)
        self._ml_service.wait_until(ready, timeout=_MODEL_SECONDS, poll=0.25)

    def _start_gateway(self) -> None:
        self._start(self._gateway)
        self._gateway.wait_until(lambda: _answers(f"{self.gateway_url}/health/ready"), timeout=60)


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Hold the data folder for this process alone.

    Raises:
        StartError: another `make run` holds it.
    """
    with _open_lock(data_dir / "lock") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = file.read().strip()
            raise StartError(f"It runs already on {data_dir} (process {holder}): stop that one, or set DATA_DIR") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def _open_lock(path: Path) -> TextIO:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("a+" if not path.exists() else "r+")
    except OSError as error:
        raise StartError(f"The data folder {path.parent} cannot be written ({error.strerror}): set DATA_DIR to one that can") from error


def _check_port_free(port: int, setting: str) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StartError(f"Port {port} is taken{_by_whom(port)}: stop that, or set {setting} to another port") from None


def _by_whom(port: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port and connection.pid:
                return f" by {psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return ""  # another user's process: its name is not ours to see
    return ""


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).status_code == 200
    except httpx.HTTPError:
        return False
