"""An account with something of everything, and empty places to restore it into."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from deploy.local.servers import EmbeddedPostgres
from tests.factories import Device, message, own_rows, paired_device, sync
from tests.fixtures.backups import Place, publish
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.servers import Server

WORD = "Zanzibarnachtigall"
"""Stands in messages, and nowhere else."""


@dataclass(frozen=True, kw_only=True)
class System:
    """What is backed up."""

    place: Place
    gateway: GatewayProcess
    owner: Device
    adapter_id: UUID


@pytest.fixture(scope="module")
def system(own_database_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A gateway on a database of its own. Tests add to it, and take nothing away."""
    folder = tmp_path_factory.mktemp("system")
    place = Place(own_database_url, folder / "adapters")
    gateway = GatewayProcess(folder, database_url=place.url, redis_url=redis_url, ml_service_url=f"http://127.0.0.1:{free_port()}")
    gateway.start()
    owner = paired_device(gateway.url)
    sync(owner, [message(text=f"{WORD} {number}") for number in range(20)])
    adapter_id = own_rows(place.url, owner)["adapter_id"]
    publish(folder / "adapters", str(owner.account_id), str(adapter_id), b"weights " * 1000, folder / "made")
    yield System(place=place, gateway=gateway, owner=owner, adapter_id=adapter_id)
    gateway.stop()


@pytest.fixture(scope="module")
def backup(system: System, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that is good."""
    return system.place.back_up(tmp_path_factory.mktemp("backup") / "good.tar")


@pytest.fixture
def new_place(postgres: Server, tmp_path: Path) -> Iterator[Callable[[], Place]]:
    """Makes empty databases, each with an empty store."""
    made: list[str] = []

    def make() -> Place:
        name = f"restored_{uuid4().hex}"
        rows(postgres.url, f"create database {name}")
        made.append(name)
        return Place(postgres.url.replace("/assistant", f"/{name}"), tmp_path / name)

    yield make
    for name in made:
        rows(superuser_url(postgres), f"drop database {name} (force)")


@pytest.fixture
def empty(new_place: Callable[[], Place]) -> Place:
    return new_place()


def superuser_url(server: Server, place: Place | None = None) -> str:
    """Somebody who may do everything, in a place's database."""
    url = server.superuser_url if isinstance(server, EmbeddedPostgres) else server.url
    return url if place is None else url.replace("/assistant", place.url[place.url.rindex("/restored_") :].partition("?")[0])
