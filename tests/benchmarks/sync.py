"""Syncing messages: the endpoint beside the bare upsert of the same rows into the same table, with four clients each."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from shared.ids import new_id
from tests.benchmarks import plain_http
from tests.benchmarks.measure import Goal, Measurement, alternate

CLIENTS = 4
MESSAGES_A_ROUND = {500: 40_000, 100: 24_000}
GOALS = {500: 0.50, 100: 0.35}
_TEXT = "see you at the station around seven if the train is on time tonight maybe we could eat something before the film starts"
_WORDS = tuple(_TEXT.split())
_START = datetime(2024, 1, 1, tzinfo=UTC)

UPSERT = """
    insert into message (
        id, account_id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at, edited_at, retracted_at,
        reply_to_guid, associated_message_guid, associated_message_type, attachments, search
    )
    select sent.id, $1, $2, sent.guid, sent.sender_id, sent.direction, sent.message_type, sent.text, sent.sent_at, null, null, null, null,
           null, null, to_tsvector('simple', sent.text)
    from unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[])
        sent (id, guid, sender_id, direction, message_type, text, sent_at)
    on conflict on constraint message_guid do update set text = excluded.text, edited_at = excluded.edited_at
    returning id, imessage_guid
"""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where to send: a gateway with a device's token, and the database behind it."""

    gateway_url: str
    token: str
    account_id: UUID
    database_url: str


def measure(target: Target, rounds: int) -> list[Measurement]:
    """Messages a second through the endpoint and through the bare upsert."""
    return [_measure(target, size, rounds) for size in MESSAGES_A_ROUND]


def _measure(target: Target, size: int, rounds: int) -> Measurement:
    def endpoint() -> float:
        return asyncio.run(_through_the_endpoint(target, size))

    def upsert() -> float:
        return asyncio.run(_through_the_upsert(target, size))

    endpoint(), upsert()  # what is done once is not measured
    ours, theirs = alternate(rounds, endpoint, upsert)
    return Measurement(
        what=f"sync, batches of {size}, {CLIENTS} clients",
        unit="messages/s",
        ours=ours,
        against="bare unnest upsert",
        theirs=theirs,
        goal=Goal(rule="ratio at least", value=GOALS[size]),
    )


async def _through_the_endpoint(target: Target, size: int) -> float:
    """The bodies are encoded beforehand, and the client reads no more of an answer than it must: the server is what is measured."""
    requests = [[_request(target, size, number) for _ in range(_batches(size))] for number in range(CLIENTS)]

    async def client(number: int) -> None:
        reader, writer = await plain_http.connect(target.gateway_url)
        for request in requests[number]:
            await plain_http.ask(reader, writer, request)
        writer.close()
        await writer.wait_closed()

    return await _rate(size, client)


async def _through_the_upsert(target: Target, size: int) -> float:
    """The columns are made beforehand too; each batch is a transaction of one statement."""
    connections = [await asyncpg.connect(target.database_url) for _ in range(CLIENTS)]
    conversations = [await _thread(connections[0], target.account_id) for _ in range(CLIENTS)]
    batches = [[_columns(size, uuid4().hex) for _ in range(_batches(size))] for _ in range(CLIENTS)]
    try:
        for connection in connections:
            await connection.prepare(UPSERT)

        async def client(number: int) -> None:
            for columns in batches[number]:
                stored = await connections[number].fetch(UPSERT, target.account_id, conversations[number], *columns)
                assert len(stored) == size

        return await _rate(size, client)
    finally:
        for connection in connections:
            await connection.close()


async def _rate(size: int, client: Callable[[int], Awaitable[None]]) -> float:
    begin = time.perf_counter()
    await asyncio.gather(*(client(number) for number in range(CLIENTS)))
    return _batches(size) * CLIENTS * size / (time.perf_counter() - begin)


def _batches(size: int) -> int:
    """Batches a client and round."""
    return MESSAGES_A_ROUND[size] // CLIENTS // size


async def _thread(connection: "asyncpg.Connection[asyncpg.Record]", account_id: UUID) -> UUID:
    conversation_id = new_id()
    await connection.execute(
        "insert into conversation (id, account_id, imessage_id) values ($1, $2, $3)", conversation_id, account_id, f"raw-{conversation_id}"
    )
    return conversation_id


def _columns(size: int, batch: str) -> list[list[Any]]:
    messages = _messages(size, batch)
    names = ("imessageGuid", "senderId", "direction", "messageType", "text", "sentAt")
    return [[new_id() for _ in messages], *([message[name] for message in messages] for name in names)]


def _request(target: Target, size: int, client: int) -> bytes:
    body = {
        "conversationImessageId": f"benchmark-{client}",
        "conversationDisplayName": "John Doe",
        "isGroup": False,
        "participantIds": ["+14155550100"],
        "messages": _messages(size, uuid4().hex),
    }
    return plain_http.post(f"{target.gateway_url}/api/sync/messages", body, {"Authorization": f"Bearer {target.token}"})


def _messages(size: int, batch: str) -> list[dict[str, Any]]:
    """Messages as people write them: some ten words, both directions."""
    return [
        {
            "imessageGuid": f"{batch}-{number}",
            "senderId": "+14155550100" if number % 2 else "me",
            "direction": "incoming" if number % 2 else "outgoing",
            "messageType": "text",
            "text": " ".join(_WORDS[(number * 7 + place * (number % 5 + 1)) % len(_WORDS)] for place in range(6 + number % 9)),
            "sentAt": _START + timedelta(seconds=number * 37),
        }
        for number in range(size)
    ]
