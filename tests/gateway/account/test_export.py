import functools
import io
import json
import time
import zipfile
from uuid import uuid4

import httpx
import pytest

from gateway.account import service
from tests.factories import NO_TLS, Device, message, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually
from tests.gateway.conftest import METRICS_TOKEN

FILES = [
    *("account", "devices", "contacts", "conversations", "messages", "responses", "samples", "training_jobs", "adapters"),
    *("workspace_conversations", "workspace_log"),
]
MANY = 40_000
UNREAD = "from pg_stat_activity where state = 'idle in transaction' and query like '%imessageGuid%from message where account_id%'"
"""The session of an export that waits for its reader in the middle of its messages."""


@pytest.fixture(scope="module")
def full(gateway: GatewayProcess, database_url: str) -> Device:
    """An account whose export is far larger than any buffer on its way."""
    return filled(paired_device(gateway.url), database_url)


@pytest.fixture(scope="module")
def full_too(gateway: GatewayProcess, database_url: str) -> Device:
    return filled(paired_device(gateway.url), database_url)


def filled(device: Device, database_url: str) -> Device:
    """With many messages: random text does not compress well."""
    conversation = uuid4()
    rows(
        database_url,
        "insert into conversation (id, account_id, imessage_id, display_name, is_group, created_at, updated_at)"
        " values ($1, $2, 'thread-1', 'John', false, now(), now())",
        conversation,
        device.account_id,
    )
    rows(database_url, "insert into participant (id, conversation_id, handle) values ($1, $2, 'john@example.com')", uuid4(), conversation)
    text = " || ".join(["md5(random()::text)"] * 20)
    rows(
        database_url,
        "insert into message (id, account_id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at)"
        f" select gen_random_uuid(), $2, $1, 'guid-' || n, 'john@example.com', 'incoming', 'text', {text}, now()"
        " from generate_series(1, $3) n",
        conversation,
        device.account_id,
        MANY,
    )
    return device


def lines(archive: zipfile.ZipFile, kind: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in archive.read(f"{kind}.ndjson").splitlines()]


def test_an_export_is_a_zip_with_all_of_the_accounts_rows(full: Device) -> None:
    answer = full.client.get("/api/account/export")

    assert answer.headers["Content-Type"] == "application/zip"
    assert "attachment" in answer.headers["Content-Disposition"]
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{kind}.ndjson" for kind in FILES]
        assert lines(archive, "account")[0]["id"] == str(full.account_id)
        assert lines(archive, "conversations")[0]["participants"][0]["handle"] == "john@example.com"  # type: ignore[index]
        messages = lines(archive, "messages")
    assert len(messages) == len({message["imessageGuid"] for message in messages}) == MANY
    assert set(messages[0]) >= {"id", "conversationId", "imessageGuid", "senderId", "direction", "messageType", "text", "sentAt"}
    assert str(messages[0]["sentAt"]).endswith("Z")


def test_it_holds_nothing_of_others_and_no_secrets(gateway: GatewayProcess, full: Device) -> None:
    device = paired_device(gateway.url)

    content = device.client.get("/api/account/export").content

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert lines(archive, "messages") == []
        [listed] = lines(archive, "devices")
        everything = b"".join(archive.read(name) for name in archive.namelist())
    assert set(listed) == {"id", "name", "hardwareId", "platform", "osVersion", "status", "createdAt", "verifiedAt", "lastSeenAt"}
    assert str(full.account_id).encode() not in everything
    assert device.refresh_token.encode() not in everything


def test_a_sample_is_as_the_api_shows_it(gateway: GatewayProcess) -> None:
    device = paired_device(gateway.url)
    sync(device, [message("one"), message("two", direction="outgoing", senderId="me", text="hi", sentAt="2024-01-01T12:01:00Z")])
    device.client.post("/api/training/samples/import", json={})

    content = device.client.get("/api/account/export").content

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        [exported], [shown] = lines(archive, "samples"), device.client.get("/api/training/samples").json()["samples"]
    assert exported | shown == exported


def test_it_starts_before_it_is_read_and_takes_no_more_memory_for_more_rows(
    gateway: GatewayProcess, full: Device, database_url: str
) -> None:
    before = resident_bytes(gateway)
    with full.client.stream("GET", "/api/account/export") as answer:
        chunks = answer.iter_raw()
        next(chunks)
        eventually(lambda: bool(rows(database_url, f"select pid {UNREAD}")))
        waiting = resident_bytes(gateway)
        for _ in chunks:
            pass

    assert waiting - before < 20_000_000


def test_a_failure_in_the_middle_does_not_look_like_a_complete_file(full: Device, database_url: str) -> None:
    received = bytearray()

    with full.client.stream("GET", "/api/account/export") as answer:
        chunks = answer.iter_raw()
        received += next(chunks)
        stop_exports(database_url)
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(b"".join(chunks))

    assert not zipfile.is_zipfile(io.BytesIO(received))


def test_a_reader_that_leaves_gives_its_connection_back(second_gateway: GatewayProcess, full: Device) -> None:
    for _ in range(3):  # one more than may run at once
        with httpx.stream(
            "GET", f"{second_gateway.url}/api/account/export", headers=full.client.headers, verify=NO_TLS, timeout=PATIENCE_SECONDS
        ) as answer:
            assert answer.status_code == 200
            next(answer.iter_raw())
        wait_until_unused(second_gateway)


def test_an_account_has_one_export_at_once_and_a_process_two(gateway: GatewayProcess, full: Device, full_too: Device) -> None:
    with full.client.stream("GET", "/api/account/export") as one, full_too.client.stream("GET", "/api/account/export") as two:
        unread = [one.iter_raw(), two.iter_raw()]  # kept: a forgotten iterator closes its connection
        for chunks in unread:
            next(chunks)

        second = full.client.get("/api/account/export")
        third = paired_device(gateway.url).client.get("/api/account/export")

    assert (second.status_code, third.status_code) == (429, 503)
    assert int(second.headers["Retry-After"]) > 0
    assert int(third.headers["Retry-After"]) > 0


def test_it_ends_when_its_device_is_deactivated(gateway: GatewayProcess, full: Device) -> None:
    lost = paired_device(gateway.url, full)

    with lost.client.stream("GET", "/api/account/export") as answer:
        chunks = answer.iter_raw()
        next(chunks)
        full.client.post(f"/api/devices/{lost.device_id}/deactivate").raise_for_status()
        time.sleep(service.CHECK_SECONDS)

        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(chunks)


def test_it_ends_when_its_account_is_deleted(gateway: GatewayProcess, database_url: str) -> None:
    owner = filled(paired_device(gateway.url), database_url)
    other = paired_device(gateway.url, owner)

    with owner.client.stream("GET", "/api/account/export") as answer:
        chunks = answer.iter_raw()
        next(chunks)
        other.client.request("DELETE", "/api/account", json={"confirm": str(owner.account_id)}).raise_for_status()
        time.sleep(service.CHECK_SECONDS)

        with pytest.raises(httpx.RemoteProtocolError):
            b"".join(chunks)


def stop_exports(database_url: str) -> None:
    """The session of an export that nobody reads is ended, and no other."""
    eventually(lambda: bool(rows(database_url, f"select pg_terminate_backend(pid) {UNREAD}")))


def resident_bytes(gateway: GatewayProcess) -> int:
    with open(f"/proc/{gateway.process.pid}/statm", encoding="ascii") as statm:  # noqa: PTH123
        return int(statm.read().split()[1]) * 4096


def wait_until_unused(gateway: GatewayProcess) -> None:
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    metrics = functools.partial(httpx.get, f"{gateway.url}/metrics", headers=headers, verify=NO_TLS, timeout=PATIENCE_SECONDS)
    eventually(lambda: 'gateway_database_connections{state="used"} 0.0' in metrics().text)
