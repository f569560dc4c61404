"""Makes what tests need, through the real calls."""

import secrets
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args
from uuid import UUID, uuid4

import asyncpg
import httpx
import jwt
from redis.asyncio import Redis

from gateway.events.journal import Journal
from gateway.events.publisher import EventPublisher
from gateway.limits.allowances import Allowances, Limited
from gateway.settings import Settings
from tests.fixtures.running import run
from tests.fixtures.waiting import PATIENCE_SECONDS

# Nothing here speaks TLS; loading the system's certificates for every client would take longer than the tests.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A paired device; `client` sends its token."""

    account_id: UUID
    device_id: UUID
    token: str
    refresh_token: str
    client: httpx.Client


def allowances() -> Allowances:
    """More than any test uses."""
    much: Any = {f"max_{limited}_per_account": 1_000_000 for limited in get_args(Limited)}
    return Allowances(Settings(database_url="", redis_url="", jwt_keys=[], **much))


def registration(**changes: str) -> dict[str, str]:
    """The body of POST /api/devices/register, as documented, with a hardware id of its own."""
    return {"name": "MacBook Pro", "hardwareId": uuid4().hex, "platform": "macos", "osVersion": "14.0", **changes}


def paired_device(gateway_url: str, owner: Device | None = None) -> Device:
    """A device that went through register and verify: of a new account, or of its `owner`'s."""
    headers = {"Authorization": f"Bearer {owner.token}"} if owner else {}
    pairing = httpx.post(
        f"{gateway_url}/api/devices/register", json=registration(), headers=headers, verify=NO_TLS, timeout=PATIENCE_SECONDS
    )
    assert pairing.status_code == 201, pairing.text
    proof = {"deviceId": pairing.json()["deviceId"], "code": pairing.json()["code"]}
    # From an address of its own: other tests' wrong codes are not its own.
    verified = calls_from(gateway_url, new_address()).post("/api/devices/verify", json=proof)
    assert verified.status_code == 200, verified.text
    return device_with(gateway_url, verified.json()["token"], verified.json()["refreshToken"])


def device_with(gateway_url: str, token: str, refresh_token: str) -> Device:
    """The device of a token that was issued by a gateway with the tests' keys."""
    claims = jwt.decode(token, options={"verify_signature": False})
    # No kept connections: nobody has to close the client.
    limits = httpx.Limits(max_keepalive_connections=0)
    client = httpx.Client(
        base_url=gateway_url, headers={"Authorization": f"Bearer {token}"}, timeout=PATIENCE_SECONDS, limits=limits, verify=NO_TLS
    )
    return Device(account_id=UUID(claims["acc"]), device_id=UUID(claims["sub"]), token=token, refresh_token=refresh_token, client=client)


def calls_from(gateway_url: str, address: str, token: str | None = None) -> httpx.Client:
    """A client that calls from this loopback address, so that the wrong codes it sends are its own."""
    transport = httpx.HTTPTransport(local_address=address, limits=httpx.Limits(max_keepalive_connections=0), verify=NO_TLS)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx.Client(base_url=gateway_url, headers=headers, transport=transport, timeout=PATIENCE_SECONDS)


def new_address() -> str:
    """A loopback address that no other test calls from."""
    return f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(254) + 1}"


def wrong_code(code: str) -> str:
    """Another code of six digits."""
    return f"{(int(code) + 1) % 1_000_000:06d}"


def unheard_publisher() -> EventPublisher:
    """Takes events and sends none."""
    journal = Journal(Redis())
    return EventPublisher(journal)


def own_rows(database_url: str, owner: Device) -> dict[str, UUID]:
    """One real row of the account for every kind of id in an address."""
    ids = {name: uuid4() for name in ("conversation_id", "message_id", "response_id", "sample_id", "job_id")}
    ids["adapter_id"] = job = ids["job_id"]
    ids["device_id"] = owner.device_id
    conversation, message, response, sample = (ids[name] for name in ("conversation_id", "message_id", "response_id", "sample_id"))
    statements: list[tuple[str, list[Any]]] = [
        (
            "insert into conversation (id, account_id, imessage_id, is_group, created_at, updated_at)"
            " values ($1, $2, $1::uuid::text, false, now(), now())",
            [conversation, owner.account_id],
        ),
        (
            "insert into message (id, account_id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at)"
            " values ($1, $2, $3, $1::uuid::text, 'them', 'incoming', 'text', 'Hello', now())",
            [message, owner.account_id, conversation],
        ),
        (
            "insert into response (id, account_id, conversation_id, message_id, status, message_ids, text, created_at, completed_at)"
            " values ($1, $2, $3, $4, 'completed', array[$4::uuid], 'Hi', now(), now())",
            [response, owner.account_id, conversation, message],
        ),
        (
            "insert into sample (id, account_id, conversation_id, source, messages, message_ids, output, quality, replied_at, created_at)"
            " values ($1, $2, $3, 'history', '[]', array[$4::uuid], 'Hi', 1, now(), now())",
            [sample, owner.account_id, conversation, message],
        ),
        (
            "insert into training_job (id, account_id, device_id, status, base_model, method, epochs, learning_rate, sample_ids,"
            " created_at, heard_at) values ($1, $2, $3, 'completed', 'model', 'sft', 3, 0.0001, array[$4::uuid], now(), now())",
            [job, owner.account_id, owner.device_id, sample],
        ),
        (
            "insert into adapter (id, account_id, base_model, sample_ids, eval_loss, baseline_eval_loss, created_at)"
            " values ($1, $2, 'model', array[$3::uuid], 2, 2.5, now())",
            [job, owner.account_id, sample],
        ),
    ]

    async def insert() -> None:
        connection = await asyncpg.connect(database_url)
        try:
            for statement, values in statements:
                await connection.execute(statement, *values)
        finally:
            await connection.close()

    run(insert())
    return ids


def message(guid: str | None = None, **changes: Any) -> dict[str, Any]:
    """One message of a batch, as documented, with a guid of its own."""
    return {
        "imessageGuid": guid or uuid4().hex,
        "senderId": "+14155550100",
        "direction": "incoming",
        "messageType": "text",
        "text": "Hello!",
        "sentAt": "2024-01-01T12:00:00Z",
        **changes,
    }


def thread(messages: Sequence[dict[str, Any]], name: str = "thread", **changes: Any) -> dict[str, Any]:
    """The body of POST /api/sync/messages."""
    return {"conversationImessageId": name, "participantIds": [], "messages": list(messages), **changes}


def sync(device: Device, messages: Sequence[dict[str, Any]], name: str = "thread", **changes: Any) -> dict[str, Any]:
    """Sync messages of a thread and return the answer."""
    answer = device.client.post("/api/sync/messages", json=thread(messages, name, **changes))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())
