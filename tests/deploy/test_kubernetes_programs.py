"""What the manifests of deploy/kubernetes start, ask and run: probes, commands, the secrets' script, the database's role, a Ray head."""

import os
import re
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import yaml

from deploy.local.servers import _BINARIES, EmbeddedPostgres
from ml_service.jobs.__main__ import WORKERS
from ml_service.jobs.generation_queue import GenerationQueue
from ml_service.jobs.worker import worker_redis
from ml_service.settings import Settings as MlServiceSettings
from shared.contracts.generation import Turn
from shared.contracts.jobs import AsyncGenerateRequest
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.kubernetes import (
    FILES,
    FOLDER,
    OURS,
    PROJECT,
    Manifests,
    base_files,
    dictionary,
    documents_in,
    is_secret,
    pods_in,
)
from tests.fixtures.redis_client import Redis
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import eventually


@pytest.mark.anyio
async def test_scaling_looks_at_the_key_where_drafts_wait(redis_url: str, redis: Redis) -> None:
    scaled = documents_in((FOLDER / "components" / "keda" / "scaled-object.yaml").read_text())[0]
    key = scaled["spec"]["triggers"][0]["metadata"]["listName"]
    waited = redis.zcard(key)
    client = worker_redis(redis_url)
    queue = GenerationQueue(client, MlServiceSettings())
    request = AsyncGenerateRequest(messages=[Turn(role="user", content="Are we on?")], scope="kubernetes")
    try:
        job_id = await queue.enqueue(request)

        assert redis.type(key) == b"zset"
        assert redis.zcard(key) == waited + 1
        await queue.cancel(job_id)
    finally:
        await client.aclose(close_connection_pool=True)


def probes() -> list[tuple[str, str]]:
    """Image and path of every probe of the base's and the multi-node overlay's files."""
    documents = [*base_files(), *documents_in((FOLDER / "overlays" / "multi-node" / "ray-cluster.yaml").read_text())]
    found = {
        (container["image"].removeprefix(OURS), probe["httpGet"]["path"])
        for document in documents
        for pod in pods_in(document)
        for container in pod.containers
        for name, probe in container.items()
        if name.endswith("Probe") and "httpGet" in probe
    }
    return sorted(found)


def test_every_kind_of_probe_is_asked_below() -> None:
    assert probes() == [("gateway", "/health/live"), ("gateway", "/health/ready"), ("ml", "/health"), ("ml", "/health/live")]


@pytest.mark.parametrize("path", [path for image, path in probes() if image == "gateway"])
def test_probes_of_the_gateway_are_answered(gateway: GatewayProcess, path: str) -> None:
    assert httpx.get(f"{gateway.url}{path}").status_code == 200


@pytest.mark.parametrize("path", [path for image, path in probes() if image == "ml"])
def test_probes_of_the_ml_service_are_answered_without_its_token(ml_service: ScriptedMlService, path: str) -> None:
    assert httpx.get(f"{ml_service.url}{path}").status_code == 200


def commands() -> list[list[str]]:
    words = [each["command"] for document in base_files() for pod in pods_in(document) for each in pod.containers if "command" in each]
    return sorted(words)


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_commands_are_there(command: list[str]) -> None:
    program, *arguments = command
    if program == "gateway":
        assert tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["scripts"]["gateway"] == "gateway.cli:main"
        asked = [sys.executable, "-m", "gateway", *arguments, "--help"]
        helped = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True, check=False)
        assert helped.returncode == 0, helped.stderr
    else:
        module, *queue = arguments[1:]
        assert [program, arguments[0]] == ["python", "-m"]
        assert (PROJECT.joinpath(*module.split(".")) / "__main__.py").exists()
        assert set(queue) <= set(WORKERS)


@pytest.mark.parametrize(("minutes", "goes_on"), [(0, True), (3, False), (None, True)])
def test_worker_without_a_heartbeat_is_started_again(tmp_path: Path, minutes: int | None, goes_on: bool) -> None:
    """No file at all is a worker that was not told to touch one, or has not begun."""
    heartbeat = tmp_path / "heartbeat"
    if minutes is not None:
        heartbeat.touch()
        os.utime(heartbeat, (time.time() - 60 * minutes,) * 2)
    for component in ("generation-worker", "training-worker"):
        (container,) = Manifests(FILES, base_files()).pod(component).spec["containers"]
        command = [word.replace("/tmp/heartbeat", str(heartbeat)) for word in container["livenessProbe"]["exec"]["command"]]
        assert str(heartbeat) in command[-1]

        assert (subprocess.run(command, check=False).returncode == 0) is goes_on


def test_no_secret_is_written_down(secrets: dict[str, str]) -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"^kind: Secret$|stringData:|BEGIN [A-Z ]*PRIVATE KEY", text, re.MULTILINE), path
            assert not re.search(r"\b[0-9a-f]{24,}\b", text), path
            for document in documents_in(text) if path.suffix == ".yaml" else []:
                for pod in pods_in(document):
                    named = [
                        variable for container in pod.containers for variable in container.get("env", []) if variable["name"] in secrets
                    ]
                    assert all(map(is_secret, named)), path
    for path in FOLDER.rglob("*.env"):
        written = dictionary(path.read_text())
        assert not any(written.get(name) for name in secrets), path
    assert "secrets.env" in (FOLDER / ".gitignore").read_text().split()


def test_secrets_are_made_anew_and_as_documented(secrets: dict[str, str]) -> None:
    again = dictionary(subprocess.run([FOLDER / "make-secrets.sh"], capture_output=True, text=True, check=True).stdout)
    documented = dictionary((FOLDER / "secrets.example.env").read_text())

    assert all(secrets[name] != again[name] for name in secrets)
    assert set(documented) - set(secrets) == {"HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    assert set(secrets) <= set(documented)
    assert urlsplit(secrets["DATABASE_URL"]).password == secrets["GATEWAY_DATABASE_PASSWORD"]
    assert urlsplit(secrets["REDIS_URL"]).password == secrets["VALKEY_PASSWORD"]
    services = {document["metadata"]["name"]: document for document in base_files() if document["kind"] == "Service"}
    for url in (urlsplit(secrets["DATABASE_URL"]), urlsplit(secrets["REDIS_URL"])):
        assert services[url.hostname or ""]["spec"]["ports"][0]["port"] == url.port


def test_kubectl_takes_the_secrets_from_a_pipe(kubectl: str) -> None:
    command = f"'{FOLDER}/make-secrets.sh' | '{kubectl}' create secret generic assistant-secrets --from-env-file=/dev/stdin"
    made = subprocess.run(["bash", "-c", f"{command} --dry-run=client --output=yaml"], capture_output=True, text=True, check=True)

    assert "JWT_KEYS" in yaml.safe_load(made.stdout)["data"]


def test_gateway_owns_its_database_and_nothing_else(tmp_path: Path) -> None:
    """As the image of PostgreSQL runs it, on a server that has neither the role nor the database."""
    server = EmbeddedPostgres(tmp_path / "data", tmp_path / "log")
    try:
        server.start()
        superuser = server.superuser_url.replace("/assistant", "/postgres")
        rows(superuser, "drop database assistant")
        rows(superuser, "drop role gateway")
        script = FOLDER / "base" / "gateway-role.sql"
        command = [str(_BINARIES / "psql"), "-v", "ON_ERROR_STOP=1", "--no-psqlrc", "-d", superuser, "-f", str(script)]
        subprocess.run(command, env={**os.environ, "GATEWAY_DATABASE_PASSWORD": "it's"}, check=True, capture_output=True)

        ((password, powers),) = rows(
            superuser, "select rolpassword, rolsuper or rolcreatedb or rolcreaterole from pg_authid where rolname = 'gateway'"
        )
        assert password.startswith("SCRAM-SHA-256$")
        assert powers is False
        owners = rows(
            server.url, "select pg_get_userbyid(datdba), pg_encoding_to_char(encoding) from pg_database where datname = 'assistant'"
        )
        assert [tuple(owner) for owner in owners] == [("gateway", "UTF8")]
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            rows(server.url, "create role other")
    finally:
        server.stop()


@pytest.fixture
def head(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The command of the Ray cluster's head, with a service that takes a second to stop and a Ray that runs."""
    cluster = documents_in((FOLDER / "overlays" / "multi-node" / "ray-cluster.yaml").read_text())[0]
    (container,) = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"]
    programs = {
        "python": f"trap 'sleep 1; touch {tmp_path}/finished; exit 0' TERM\ntouch {tmp_path}/up\nsleep 60 & wait\n",
        "start-ray": "echo $$ > $1\nexec sleep 60\n",
    }
    for name, program in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{program}")
        (tmp_path / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "KUBERAY_GEN_RAY_START_CMD": f"start-ray {tmp_path}/ray",
    }
    process = subprocess.Popen([*container["command"], *container["args"]], env=environment, start_new_session=True)
    eventually(lambda: (tmp_path / "up").exists() and (tmp_path / "ray").exists() and (tmp_path / "ray").read_text() != "")
    yield process
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_head_that_is_stopped_lets_the_service_finish(head: subprocess.Popen[bytes], tmp_path: Path) -> None:
    head.terminate()

    assert head.wait(30) == 0
    assert (tmp_path / "finished").exists()


def test_head_ends_with_its_ray(head: subprocess.Popen[bytes], tmp_path: Path) -> None:
    os.kill(int((tmp_path / "ray").read_text()), signal.SIGKILL)

    assert head.wait(30) == 1
