"""The compose stack, run as an operator runs it, in a project of its own."""

import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import httpx

from tests.fixtures.ports import free_port
from tests.fixtures.waiting import ENGINE_SECONDS, eventually

PROJECT = Path(__file__).parents[2]
IMAGES = (
    "postgres:18",
    "valkey/valkey:9",
    "conversation-assistant/gateway",
    "conversation-assistant/ml:cpu",
    "conversation-assistant/worker:cpu",
    "conversation-assistant/proxy",
    "conversation-assistant/backup",
)
ONE_SHOT = {"migrate", "database-role"}
ROOT_CERTIFICATE = "/var/lib/caddy/pki/authorities/local/root.crt"


def missing() -> str | None:
    """Why the stack cannot be run here; None if it can."""
    if shutil.which("docker") is None or subprocess.run(["docker", "info"], capture_output=True, check=False).returncode != 0:
        return "needs a Docker engine"
    if subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0:
        return "needs docker compose"
    for image in IMAGES:
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True, check=False).returncode != 0:
            return f"needs the image {image}: docker compose build, and docker compose pull"
    return None


@dataclass(frozen=True)
class Container:
    """What the engine knows of a container."""

    id: str
    service: str
    running: bool
    exit_code: int
    health: str
    """Empty where there is no health check."""
    restarts: int

    @property
    def settled(self) -> bool:
        """Whether it is as it should be: healthy, or done."""
        if self.service in ONE_SHOT:
            return not self.running and self.exit_code == 0
        return self.running and self.health in ("healthy", "")


class ComposeStack:
    """A project in a folder of its own, with secrets and ports of its own."""

    edge_prefix = "172.30.84."
    """What addresses between Caddy and the gateways begin with."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._name = f"assistant-test-{os.getpid()}"
        for part in ("deploy/docker", "deploy/observe"):
            shutil.copytree(PROJECT / part, folder / part)
        for file in ("compose.yaml", ".env.example"):
            shutil.copy(PROJECT / file, folder)
        self._make_secrets()
        self._choices = {"HTTP_PORT": str(free_port()), "HTTPS_PORT": str(free_port()), "EDGE_SUBNET": f"{self.edge_prefix}0/26"}
        self.url = f"https://localhost:{self._choices['HTTPS_PORT']}"

    def compose(self, *arguments: str, check: bool = True) -> str:
        """What `docker compose` answers."""
        return self._run(*arguments, check=check, stdout=subprocess.PIPE).decode()

    def _run(self, *arguments: str, check: bool = True, stdout: int | IO[bytes], stdin: IO[bytes] | None = None) -> bytes:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")} | self._choices
        command = ["docker", "compose", "--project-name", self._name, *arguments]
        done = subprocess.run(
            command,
            cwd=self._folder,
            env=environment,
            stdin=stdin or subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stderr.decode()}"
        return done.stdout or b""

    def up(self) -> None:
        self.compose("up", "--detach", "--no-build")

    def scale(self, *, gateways: int, replicas: int) -> None:
        """Run as many gateways and replicas of the ML service as an operator asks for in `.env`."""
        urls = ",".join(f"http://{self._name}-ml-{number}:8100" for number in range(1, replicas + 1))
        self._choices |= {"GATEWAY_REPLICAS": str(gateways), "ML_REPLICAS": str(replicas), "ML_SERVICE_URL": urls}
        self.up()
        self.wait_until_settled()

    def down(self) -> None:
        self.compose("down", "--volumes", "--timeout", "10")

    def renew(self, secret: str) -> None:
        self._make_secrets("renew", secret)

    def _make_secrets(self, *arguments: str) -> None:
        subprocess.run(["sh", self._folder / "deploy/docker/make-secrets.sh", *arguments], check=True)

    def containers(self, service: str | None = None) -> list[Container]:
        ids = self.compose("ps", "--all", "--quiet", *([service] if service else [])).split()
        return [_container(each) for each in (json.loads(_docker("inspect", *ids)) if ids else [])]

    def settled(self) -> bool:
        containers = self.containers()
        return {each.service for each in containers} == set(self.services()) and all(each.settled for each in containers)

    def services(self) -> list[str]:
        return self.compose("config", "--services").split()

    def wait_until_settled(self) -> None:
        eventually_slowly(self.settled, ENGINE_SECONDS)

    def kill(self, service: str, number: int = 0) -> float:
        """`kill -9` of all that runs in one container of this service; returns the seconds until it is healthy again.

        Not `docker kill`: an engine takes that for the operator's wish, and starts such a container no more.
        """
        victim = self.containers(service)[number]
        user = ["--user", "postgres"] if service == "postgres" else []
        began = time.monotonic()
        subprocess.run(["docker", "exec", *user, victim.id, "sh", "-c", "kill -9 -1"], capture_output=True, check=False)

        def healed() -> bool:
            (now,) = [each for each in self.containers(service) if each.id == victim.id]
            return now.restarts > victim.restarts and now.settled

        eventually_slowly(healed, ENGINE_SECONDS)
        return time.monotonic() - began

    def run_in(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container of this service."""
        victim = self.containers(service)[0]
        return subprocess.run(["docker", "exec", victim.id, *command], capture_output=True, text=True, check=False)

    def trusting(self) -> ssl.SSLContext:
        """What a client believes that was given Caddy's root certificate."""
        return ssl.create_default_context(cadata=self.compose("exec", "-T", "caddy", "cat", ROOT_CERTIFICATE))

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, verify=self.trusting(), timeout=180, **options)

    def back_up(self, file: Path) -> None:
        """As an operator does, into a file."""
        with file.open("wb") as target:
            self._run("run", "--rm", "-T", "backup", stdout=target)

    def restore(self, file: Path) -> None:
        """Into a stack of which only the database's owner is there."""
        with file.open("rb") as source:
            self._run("run", "--rm", "-T", "backup", "gateway", "restore", "-", stdin=source, stdout=subprocess.PIPE)

    def logs(self) -> str:
        return self.compose("logs", "--no-color", check=False)


def eventually_slowly(true: Callable[[], bool], seconds: float) -> None:
    """As `eventually`, for questions that cost something."""

    def asked() -> bool:
        time.sleep(0.5)
        return true()

    eventually(asked, seconds)


def _docker(*arguments: str) -> str:
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


def _container(inspected: dict[str, Any]) -> Container:
    state = inspected["State"]
    return Container(
        id=inspected["Id"],
        service=inspected["Config"]["Labels"]["com.docker.compose.service"],
        running=state["Running"],
        exit_code=state["ExitCode"],
        health=state.get("Health", {}).get("Status", ""),
        restarts=inspected["RestartCount"],
    )


def pair(stack: ComposeStack, client: httpx.Client) -> None:
    """As operator and app do: one announces a device, the other verifies it. From here on the client speaks as that."""
    said = stack.compose("run", "--rm", "-T", "gateway", "gateway", "pair", "--name", "Laptop", "--platform", "linux")
    device_id, code = _lines(said.splitlines())
    verified = client.post("/api/devices/verify", json={"deviceId": device_id, "code": code})
    assert verified.status_code == 200, verified.text
    client.headers["Authorization"] = f"Bearer {verified.json()['token']}"


def _lines(lines: Sequence[str]) -> tuple[str, str]:
    found = {line.rpartition(" ")[0].strip(): line.split()[-1] for line in lines if line.startswith(("device id", "code"))}
    return found["device id"], found["code"]
