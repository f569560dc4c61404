"""Reading far back: a page of messages at depth 250,000 of 300,000, by cursor, beside the newest page."""

import asyncio
import statistics
import time
from uuid import UUID

import asyncpg
import httpx

from shared.ids import new_id
from tests.benchmarks.measure import Goal, Measurement, alternate
from tests.factories import paired_device

_ROWS = 300_000
_DEPTH = 250_000
_PAGE = 50
_CALLS = 100

THREAD = """
    insert into conversation (id, account_id, imessage_id, is_group, message_count, created_at, updated_at)
    values ($2, $1, 'far back', false, $3, now(), now())
"""
MESSAGES = """
    insert into message (id, account_id, conversation_id, imessage_guid, sender_id, direction, message_type, text, sent_at)
    select gen_random_uuid(), $1, $2, 'far-back-' || n, 'sam@example.com', 'incoming', 'text', 'message number ' || n,
           timestamptz '2020-01-01' + n * interval '5 minutes'
    from generate_series(1, $3::int) n
"""


def measure(gateway_url: str, database_url: str, rounds: int) -> list[Measurement]:
    """Median milliseconds a page, one reader."""
    device = paired_device(gateway_url)
    conversation = asyncio.run(_fill(database_url, device.account_id))
    headers = {"Authorization": f"Bearer {device.token}"}
    path = f"/api/conversations/{conversation}/messages"
    with httpx.Client(base_url=gateway_url, headers=headers, timeout=60) as client:
        cursor = _cursor_at_depth(client, path)
        deep, newest = alternate(
            rounds,
            lambda: _milliseconds(client, path, {"pageSize": _PAGE, "before": cursor}),
            lambda: _milliseconds(client, path, {"pageSize": _PAGE, "page": 1}),
        )
    return [
        Measurement(
            what=f"messages page at depth {_DEPTH:,} of {_ROWS:,} by cursor, p50",
            unit="ms",
            ours=deep,
            against="page 1",
            theirs=newest,
            goal=Goal(rule="ratio at most", value=1.5),
        )
    ]


def _cursor_at_depth(client: httpx.Client, path: str) -> str:
    """The cursor that the page before the measured one gives; got by page number, which is slow once."""
    answer = client.get(path, params={"pageSize": _PAGE, "page": _DEPTH // _PAGE}).raise_for_status().json()
    return str(answer["nextCursor"])


def _milliseconds(client: httpx.Client, path: str, parameters: dict[str, str | int]) -> float:
    seconds = []
    for _ in range(_CALLS):
        begin = time.perf_counter()
        answer = client.get(path, params=parameters)
        seconds.append(time.perf_counter() - begin)
        assert len(answer.json()["messages"]) == _PAGE
    return statistics.median(seconds) * 1000


async def _fill(database_url: str, account_id: UUID) -> UUID:
    conversation = new_id()
    connection = await asyncpg.connect(database_url)
    try:
        await connection.execute(THREAD, account_id, conversation, _ROWS)
        await connection.execute(MESSAGES, account_id, conversation, _ROWS)
        await connection.execute("analyze message")
    finally:
        await connection.close()
    return conversation
