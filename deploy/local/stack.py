"""The processes of the project on one machine: which there are, in which order, and with which settings."""

import asyncio
import fcntl
import json
import os
import secrets
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil

from deploy.local.https import HttpsAddresses, HttpsProxy, own_names
from deploy.local.processes import ChildProcess, Restarts, StartError
from deploy.local.servers import EmbeddedPostgres, EmbeddedValkey
from deploy.local.settings import LocalSettings
from gateway.database import migrate
from ml_service.models.catalogue import has_gpu
from ml_service.models.number_format import cpu_number_format

_MODEL_SECONDS = 900
"""How long the ML service may take to load its model: a large one from a slow disk takes minutes."""
_GATEWAY_SECONDS = 60

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
        self.gateway_url = f"http://127.0.0.1:{settings.gateway_port}"
        self._ml_service_url = f"http://127.0.0.1:{settings.ml_service_port}"
        self._logs = self.data_dir / "logs"
        self._started: list[ChildProcess] = []
        self.https = (
            HttpsAddresses(names=own_names(), https_port=settings.https_port, http_port=settings.http_port) if settings.https else None
        )
        self.authority: Path | None = None
        """The certificate that clients of HTTPS have to believe, once it is there."""

    def steps(self) -> Iterator[Step]:
        """The start, one step after the other.

        Raises:
            StartError: a port is taken, or what is kept in the data folder cannot be used; a step raises it when its part does not start.
        """
        settings = self._settings
        self.data_dir.chmod(0o700)
        ports = {"GATEWAY_PORT": settings.gateway_port, "ML_SERVICE_PORT": settings.ml_service_port}
        if settings.https:
            ports |= {"HTTPS_PORT": settings.https_port, "HTTP_PORT": settings.http_port}
        for name, port in ports.items():
            _check_port_free(port, name)
        postgres = EmbeddedPostgres(self.data_dir / "postgres", self._logs / "postgres.log")
        valkey = EmbeddedValkey(self.data_dir / "valkey", self._logs / "valkey.log")
        environment = {
            "LOG_FORMAT": "console",
            **os.environ,
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "ML_SERVICE_URL": self._ml_service_url,
            "DATA_DIR": str(self.data_dir),
            "HOST": "127.0.0.1",
            **kept_secrets(self.data_dir / "secrets.json"),
        }
        if self.https is not None:
            environment["ALLOWED_HOSTS"] = ",".join(filter(None, [environment.get("ALLOWED_HOSTS"), *self.https.names]))
            environment.setdefault("REGISTRATION", "closed")  # not for everybody who is in the same network
            environment["TRUSTED_PROXIES"] = ",".join(filter(None, [environment.get("TRUSTED_PROXIES"), "127.0.0.1"]))

        def child(name: str, log_name: str, *module: str, **own: str) -> ChildProcess:
            command = [sys.executable, "-m", *module]
            return ChildProcess(name, command, log_path=self._logs / f"{log_name}.log", environment={**environment, **own})

        unpacking = child("The model's unpacking", "model", "ml_service.models", "--data-dir", str(self.data_dir))
        ml_service = child("ML service", "ml_service", "ml_service", PORT=str(settings.ml_service_port))
        generation_worker = child("Generation worker", "generation_worker", "ml_service.jobs", "generation")
        training_worker = child("Training worker", "training_worker", "ml_service.jobs", "training")
        gateway = child("Gateway", "gateway", "gateway", "serve", PORT=str(settings.gateway_port), HOST=settings.gateway_host)

        yield Step("PostgreSQL", lambda _: self._start(postgres))
        yield Step("Valkey", lambda _: self._start(valkey))
        yield Step("Database schema", lambda _: self._migrate(postgres))
        yield Step("Model files", lambda report: self._unpack(unpacking, report))
        yield Step("ML service", lambda report: self._start_ml_service(ml_service, environment, report))
        yield Step("Generation worker", lambda _: self._start(generation_worker))
        yield Step("Training worker", lambda _: self._start(training_worker))
        yield Step("Gateway", lambda _: self._start_gateway(gateway))
        if self.https is not None:
            proxy = HttpsProxy(self.data_dir, self.https, settings.gateway_port, self._logs / "https.log")
            yield Step("HTTPS", lambda _: self._start(proxy))
            self.authority = proxy.authority

    def stop(self) -> Iterator[str]:
        """Stop what was started, last first; yields each name when it has ended."""
        while self._started:
            child = self._started.pop()
            child.stop()
            yield child.name

    def restarts(self, report: Report) -> Restarts:
        """Looks after what was started."""
        return Restarts(self._started, report)

    def _start(self, child: ChildProcess) -> None:
        self._started.append(child)
        child.start()

    def _migrate(self, postgres: EmbeddedPostgres) -> None:
        try:
            asyncio.run(migrate(postgres.url))
        except RuntimeError as error:
            log = self._logs / "migrations.log"
            log.write_text(str(error))
            raise StartError(f"The database's schema could not be brought up to date; what it said is in {log}") from error

    def _unpack(self, unpacking: ChildProcess, report: Report) -> None:
        self._start(unpacking)
        report("unpacked once")
        unpacking.wait_until(lambda: unpacking.exit_code == 0, timeout=_MODEL_SECONDS)
        self._started.remove(unpacking)

    def _start_ml_service(self, ml_service: ChildProcess, environment: dict[str, str], report: Report) -> None:
        headers = {"Authorization": f"Bearer {environment['ML_SERVICE_TOKEN']}"}
        wanted = environment.get("CPU_NUMBER_FORMAT", "auto")
        computing = "" if has_gpu() else f", computing in {cpu_number_format('auto') if wanted == 'auto' else wanted}"

        def ready() -> bool:
            answer = _ask(f"{self._ml_service_url}/health", headers)
            if answer is None:
                report("starting")
                return False
            report(f"{answer.json()['status']} the model" if answer.status_code != 200 else f"ready{computing}")
            return answer.status_code == 200

        self._start(ml_service)
        ml_service.wait_until(ready, timeout=_MODEL_SECONDS, poll=0.25)

    def _start_gateway(self, gateway: ChildProcess) -> None:
        def ready() -> bool:
            answer = _ask(f"{self.gateway_url}/health/ready")
            return answer is not None and answer.status_code == 200

        self._start(gateway)
        gateway.wait_until(ready, timeout=_GATEWAY_SECONDS)


@contextmanager
def exclusive(data_dir: Path) -> Iterator[None]:
    """Make the data folder if there is none, and hold it for this process alone.

    Raises:
        StartError: it cannot be written, or another `make run` holds it.
    """
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        file = (data_dir / "lock").open("a+")
    except OSError as error:
        raise StartError(f"The data folder {data_dir} cannot be written ({error.strerror}): set DATA_DIR to one that can") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip()
            raise StartError(f"It runs already on {data_dir} (process {holder}): stop that one, or set DATA_DIR") from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def kept_secrets(path: Path) -> dict[str, str]:
    """The settings that are keys. They are made once and kept in this file, which is for its owner only.

    Raises:
        StartError: the file is there but cannot be used.
    """
    if not path.exists():
        made = {"jwt_keys": f"{secrets.token_hex(4)}:{secrets.token_hex(32)}", "ml_service_token": secrets.token_urlsafe(32)}
        draft = path.with_suffix(".new")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(made, file, indent=2)
        draft.rename(path)
    try:
        kept = json.loads(path.read_text())
        return {"JWT_KEYS": kept["jwt_keys"], "ML_SERVICE_TOKEN": kept["ml_service_token"]}
    except (ValueError, TypeError, KeyError) as error:
        raise StartError(f"{path} is damaged: restore it, or remove it and pair all devices again") from error


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


def _ask(url: str, headers: dict[str, str] | None = None) -> httpx.Response | None:
    """None when nobody answers."""
    try:
        return httpx.get(url, timeout=5, headers=headers)
    except httpx.HTTPError:
        return None
