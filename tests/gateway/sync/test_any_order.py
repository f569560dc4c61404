"""Copies of messages that arrive twice, late, in any order and at once: the end is always the same."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.factories import Device, message, paired_device, sync
from tests.fixtures.database import rows
from tests.fixtures.gateway import GatewayProcess

Copy = tuple[int, bool]
"""Which version of a message (0 is unedited), and whether it is retracted."""
batches = st.lists(st.dictionaries(st.integers(0, 5), st.tuples(st.integers(0, 3), st.booleans()), min_size=1), min_size=1, max_size=8)


@dataclass(frozen=True)
class World:
    """An account with two devices, each at a gateway of its own."""

    devices: tuple[Device, Device]
    database_url: str


@pytest.fixture(scope="module")
def world(gateway: GatewayProcess, second_gateway: GatewayProcess, database_url: str) -> World:
    first = paired_device(gateway.url)
    return World((first, paired_device(second_gateway.url, owner=first)), database_url)


def sent(prefix: str, number: int, copy: Copy) -> dict[str, Any]:
    version, retracted = copy
    return message(
        f"{prefix}-{number}",
        text=f"version {version}",
        sentAt=f"2024-01-01T12:0{number}:00Z",
        editedAt=f"2024-01-02T12:0{version}:00Z" if version else None,
        retractedAt=f"2024-01-03T12:0{version}:00Z" if retracted else None,
    )


def expected(delivered: list[dict[int, Copy]]) -> dict[int, tuple[str | None, bool]]:
    """Text and whether it is retracted, by message: the latest version, unless any copy was retracted."""
    copies: dict[int, list[Copy]] = {}
    for batch in delivered:
        for number, copy in batch.items():
            copies.setdefault(number, []).append(copy)
    retracted = {number: any(copy[1] for copy in several) for number, several in copies.items()}
    return {
        number: (None if retracted[number] else f"version {max(copy[0] for copy in several)}", retracted[number])
        for number, several in copies.items()
    }


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(delivered=batches, at_once=st.booleans())
def test_all_orders_end_the_same(world: World, delivered: list[dict[int, Copy]], at_once: bool) -> None:
    thread = uuid4().hex

    def deliver(place: int) -> dict[str, Any]:
        batch = [sent(thread, number, copy) for number, copy in delivered[place].items()]
        return sync(world.devices[place % 2], batch, name=thread, participantIds=["+14155550100"])

    if at_once:
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(deliver, range(len(delivered))))
    else:
        answers = [deliver(place) for place in range(len(delivered))]

    want = expected(delivered)
    stored = rows(world.database_url, "select * from message where imessage_guid like $1 order by sent_at", f"{thread}-%")
    assert {int(row["imessage_guid"].rsplit("-")[-1]): (row["text"], row["retracted_at"] is not None) for row in stored} == want
    [conversation] = rows(world.database_url, "select * from conversation where imessage_id = $1", thread)
    assert conversation["message_count"] == len(stored) == sum(answer["created"] for answer in answers)
    assert (conversation["last_message_id"], conversation["last_message_at"]) == (stored[-1]["id"], stored[-1]["sent_at"])
    for place, answer in enumerate(answers):
        assert answer["created"] + answer["updated"] + answer["unchanged"] == len(delivered[place])
    again = [deliver(place) for place in range(len(delivered))]
    assert all(answer["unchanged"] == len(delivered[place]) for place, answer in enumerate(again))


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    several=st.lists(
        st.tuples(st.integers(0, 2), st.lists(st.integers(0, 30), min_size=1, max_size=20, unique=True)), min_size=2, max_size=12
    )
)
def test_threads_that_share_messages_do_not_wait_for_each_other_for_ever(world: World, several: list[tuple[int, list[int]]]) -> None:
    prefix = uuid4().hex

    def deliver(place: int) -> None:
        thread, numbers = several[place]
        copies = [message(f"{prefix}-{number}", editedAt=f"2024-01-02T12:{place:02}:00Z", text=f"version {place}") for number in numbers]
        sync(world.devices[place % 2], copies, name=f"{prefix} {thread}")

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(deliver, range(len(several))))

    counts = """
        select message_count, (select count(*) from message where conversation_id = conversation.id) as counted
        from conversation where imessage_id like $1
    """
    for row in rows(world.database_url, counts, f"{prefix} %"):
        assert row["message_count"] == row["counted"]
    stored = rows(world.database_url, "select imessage_guid, text from message where imessage_guid like $1", f"{prefix}-%")
    latest = {f"{prefix}-{number}": f"version {place}" for place, (_, numbers) in enumerate(several) for number in numbers}
    assert {row["imessage_guid"]: row["text"] for row in stored} == latest
