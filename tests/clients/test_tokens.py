"""Tokens are renewed in time, once, and whatever gets lost on the way."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from assistant_client import AsyncClient, Client, FileStore, MemoryStore, Retries
from assistant_client.errors import NotPaired, Unreachable
from assistant_client.storage import TokenStore

from tests.clients.conftest import elsewhere
from tests.factories import device_with
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.unreliable_line import UnreliableLine
from tests.gateway.events.readers import token_for

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def let_renewal_be_due(store: TokenStore) -> None:
    credentials = store.load()
    assert credentials is not None
    store.save(msgspec.structs.replace(credentials, renew_at=LONG_AGO))


def let_token_expire(store: TokenStore, url: str) -> None:
    """The kept token has expired, though by this machine's clock there was time."""
    credentials = store.load()
    assert credentials is not None
    expired = token_for(device_with(url, credentials.token, credentials.refresh_token), seconds=-1)
    store.save(msgspec.structs.replace(credentials, token=expired))


@pytest.fixture
def store(client: Client, tmp_path: Path) -> FileStore:
    """The device's credentials in a file."""
    store = FileStore(tmp_path / "device.json")
    store.save(client.credentials)
    return store


def test_a_token_is_renewed_before_it_expires(store: FileStore) -> None:
    first = store.load()
    let_renewal_be_due(store)

    with Client(store=store) as client:
        client.devices()

    renewed = store.load()
    assert first is not None
    assert renewed is not None
    assert renewed.token != first.token
    assert renewed.renew_at > datetime.now(UTC)
    assert renewed.refresh_key is None


def test_a_token_that_is_refused_is_renewed_and_the_call_made_again(store: FileStore, drafting_gateway: GatewayProcess) -> None:
    let_token_expire(store, drafting_gateway.url)

    with Client(store=store) as client:
        assert len(client.devices()) == 1


@pytest.mark.anyio
async def test_the_same_on_an_event_loop(store: FileStore, drafting_gateway: GatewayProcess) -> None:
    let_token_expire(store, drafting_gateway.url)
    async with AsyncClient(store=store) as client:
        assert len(await client.devices()) == 1

    let_renewal_be_due(store)
    async with AsyncClient(store=store) as client:
        assert len(await client.devices()) == 1


def test_an_answer_that_gets_lost_does_not_burn_the_tokens(line: UnreliableLine, client: Client) -> None:
    store = MemoryStore(elsewhere(client, line.url))
    let_renewal_be_due(store)
    line.losing = 2
    with Client(store=store) as over_line:
        over_line.devices()

    let_renewal_be_due(store)
    with Client(store=store) as over_line:
        assert len(over_line.devices()) == 1


def test_a_program_that_ended_before_the_answer_came_is_followed_by_one_that_gets_it(line: UnreliableLine, client: Client) -> None:
    store = MemoryStore(elsewhere(client, line.url))
    let_renewal_be_due(store)
    line.losing = 1
    with Client(store=store, retries=Retries(attempts=1)) as first, pytest.raises(Unreachable):
        first.devices()

    with Client(store=store) as second:
        assert len(second.devices()) == 1
    let_renewal_be_due(store)
    with Client(store=store) as third:
        assert len(third.devices()) == 1


def test_processes_that_share_a_file_renew_it_once(store: FileStore) -> None:
    let_renewal_be_due(store)
    program = f"""
from pathlib import Path
from assistant_client import Client, FileStore
client = Client(store=FileStore(Path({str(store.path)!r})))
print("ready", flush=True)
input()
print(len(client.devices()))
"""
    environment = {"PYTHONPATH": "clients/python"}
    command = [sys.executable, "-c", program]
    processes = [subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("now\n")
        process.stdin.flush()

    assert [process.communicate()[0] for process in processes] == ["1\n"] * 4
    let_renewal_be_due(store)
    with Client(store=store) as client:  # the family of tokens is whole
        assert len(client.devices()) == 1


def test_a_device_whose_tokens_are_void_is_told_to_pair(store: FileStore, client: Client) -> None:
    thief = Client(store=MemoryStore(store.load()))
    kept = store.load()
    let_renewal_be_due(store)
    with Client(store=store) as owner, thief:
        owner.devices()
        stolen = MemoryStore(kept)
        let_renewal_be_due(stolen)
        with Client(store=stolen) as other, pytest.raises(NotPaired):
            other.devices()
        with pytest.raises(NotPaired):
            owner.devices()


def test_a_token_is_not_sent_to_another_gateway(store: FileStore, drafting_gateway: GatewayProcess) -> None:
    with Client(f"http://localhost:{drafting_gateway.port}", store) as client, pytest.raises(NotPaired):
        client.devices()


def test_without_an_address_and_a_pairing_there_is_nothing_to_talk_to(tmp_path: Path) -> None:
    with pytest.raises(NotPaired):
        Client(store=FileStore(tmp_path / "device.json"))
