"""Who comes back gets what was missed, or is told that it cannot be had."""

from contextlib import ExitStack
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.sync.client import ClientConnection

from gateway.events.journal import KEPT_EVENTS, channel_of
from gateway.events.publisher import EventPublisher, PendingEvent
from gateway.events.schemas import DraftToken
from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.redis_client import Redis
from tests.gateway.events.readers import listening, named, numbers_of, publish, received, streaming, with_publisher


def test_a_reader_goes_on_where_it_was(gateway: GatewayProcess, replica: GatewayProcess, owner: Device, redis_url: str) -> None:
    with listening(gateway.url, owner.token) as socket:
        publish(redis_url, owner.account_id, [1, 2, 3])
        last = received(socket, 2)[-1]["id"]
    publish(redis_url, owner.account_id, [4])

    with listening(replica.url, owner.token, f"?after={last}") as socket:
        publish(redis_url, owner.account_id, [5])

        assert numbers_of(received(socket, 3)) == [3, 4, 5]


def test_a_browser_comes_back_with_a_header(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    publish(redis_url, owner.account_id, [0])
    with streaming(gateway.url, owner.token, after="0") as events:
        first = next(named(events))
    publish(redis_url, owner.account_id, [1])

    with streaming(gateway.url, owner.token, headers={"Last-Event-ID": first["id"]}, after="0") as events:
        assert '"number":1' in next(named(events))["data"]


def test_a_stream_that_breaks_before_its_first_event_is_come_back_to(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    publish(redis_url, owner.account_id, [0])
    with streaming(gateway.url, owner.token) as events:
        opening = next(events)
    publish(redis_url, owner.account_id, [1])

    with streaming(gateway.url, owner.token, after=opening["id"]) as events:
        assert '"number":1' in next(named(events))["data"]


def test_much_is_replayed_in_order(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    publish(redis_url, owner.account_id, range(1500))

    with listening(gateway.url, owner.token, "?after=0") as socket:
        assert numbers_of(received(socket, 1500)) == list(range(1500))


def test_after_an_id_that_is_not_known_any_more_the_reader_is_told(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    publish(redis_url, owner.account_id, [1])

    with listening(gateway.url, owner.token, "?after=1700000000000-0") as socket:
        notice, event = received(socket, 2)

    assert (notice["type"], notice["data"], notice["id"]) == ("replay:incomplete", {}, "0-0")
    assert event["data"]["number"] == 1


def test_no_more_than_so_many_are_kept(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    with listening(gateway.url, owner.token) as socket:
        publish(redis_url, owner.account_id, [0])
        last = received(socket)[0]["id"]
    publish(redis_url, owner.account_id, range(1, KEPT_EVENTS + 11))

    with listening(gateway.url, owner.token, f"?after={last}") as socket:
        notice, *events = received(socket, KEPT_EVENTS + 1)

    assert notice["type"] == "replay:incomplete"
    assert numbers_of(events) == list(range(11, KEPT_EVENTS + 11))


def test_what_is_older_than_an_hour_goes(owner: Device, redis_url: str, redis: "Redis") -> None:
    stream = channel_of(owner.account_id)
    redis.xadd(stream, {"t": "sync:completed", "b": "old", "n": "", "a": ""}, id="1700000000000-0")
    publish(redis_url, owner.account_id, [1])

    assert redis.xlen(stream) == 1
    assert 0 < redis.ttl(stream) <= 3600


def test_tokens_are_told_and_not_kept(gateway: GatewayProcess, owner: Device, redis_url: str, redis: "Redis") -> None:
    # Published as the gateway's drafts do it, with the id of the event before.
    with listening(gateway.url, owner.token, "?tokens=true") as watching, listening(gateway.url, owner.token) as not_watching:
        publish(redis_url, owner.account_id, [1])
        say_token(redis_url, owner.account_id)
        publish(redis_url, owner.account_id, [2])

        first, token, second = received(watching, 3)
        assert [event["type"] for event in received(not_watching, 2)] == ["sync:completed"] * 2

    assert token["type"] == "response:token"
    assert token["id"] == first["id"] != second["id"]
    assert redis.xlen(channel_of(owner.account_id)) == 2


def test_what_was_told_of_a_conversation_can_be_taken_back(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    gone, stays = uuid4(), uuid4()

    async def act(publisher: EventPublisher) -> None:
        for number, about in enumerate((gone, stays, gone, None)):
            publisher.publish(owner.account_id, PendingEvent("sync:completed", {"number": number}, about=about))
        publisher.forget(owner.account_id, gone)

    with_publisher(redis_url, act)

    with listening(gateway.url, owner.token, "?after=0") as socket:
        assert numbers_of(received(socket, 2)) == [1, 3]


def say_token(redis_url: str, account_id: UUID) -> None:
    async def act(publisher: EventPublisher) -> None:
        publisher.publish_token(account_id, DraftToken(response_id=uuid4(), index=0, sequence=0, text="Hi"))

    with_publisher(redis_url, act)


@dataclass
class Reader:
    """One that comes and goes; `start` is how many of its account's events there were before the first that it must get."""

    account: int
    start: int
    socket: ClientConnection | None = None
    opened: ExitStack = field(default_factory=ExitStack)
    got: list[dict[str, object]] = field(default_factory=list)


Step = tuple[str, int, int, int]
STEPS = st.lists(
    st.tuples(st.sampled_from(["publish", "connect", "leave", "return", "cut"]), st.integers(0, 1), st.integers(0, 1), st.integers(0, 3)),
    min_size=4,
    max_size=14,
)


@pytest.fixture(scope="module")
def accounts(gateway: GatewayProcess) -> list[tuple[Device, list[int]]]:
    """Two accounts, and what was published to each."""
    return [(paired_device(gateway.url), []), (paired_device(gateway.url), [])]


@given(steps=STEPS)
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whoever_comes_and_goes_gets_each_event_of_the_own_account_once(
    gateway: GatewayProcess,
    replica: GatewayProcess,
    accounts: list[tuple[Device, list[int]]],
    redis_url: str,
    redis: "Redis",
    steps: list[Step],
) -> None:
    """At every moment: events of one account, in the order in which they were published, from two gateways, none missing, none twice."""
    gateways = (gateway.url, replica.url)
    readers: list[Reader] = []
    for action, account, where, which in steps:
        device, published = accounts[account]
        reader = readers[which % len(readers)] if readers else None
        match action:
            case "publish":
                numbers = [len(published) * 2 + account + 2 * offset for offset in range(which + 1)]
                publish(redis_url, device.account_id, numbers)
                published += numbers
            case "connect":
                readers.append(Reader(account, len(published)))
                come_back(readers[-1], gateways[where], accounts)
            case "leave" if reader is not None and reader.socket is not None:
                ready = len(accounts[reader.account][1]) - reader.start - len(reader.got)
                reader.got += received(reader.socket, min(which, ready))
                leave(reader)
            case "return" if reader is not None and reader.socket is None:
                come_back(reader, gateways[where], accounts)
            case "cut":  # the gateways' connections to Redis
                redis.client_kill_filter(_type="pubsub")
            case _:
                pass
    for reader in readers:
        if reader.socket is None:
            come_back(reader, gateways[0], accounts)
        assert reader.socket is not None
        expected = accounts[reader.account][1][reader.start :]
        reader.got += received(reader.socket, len(expected) - len(reader.got))
        assert numbers_of(reader.got) == expected
        with pytest.raises(TimeoutError):
            reader.socket.recv(timeout=0.01)
        leave(reader)


def come_back(reader: Reader, url: str, accounts: list[tuple[Device, list[int]]]) -> None:
    """After the last event that it has; one that has none begins anew."""
    device, published = accounts[reader.account]
    if not reader.got:
        reader.start = len(published)
    path = f"?after={reader.got[-1]['id']}" if reader.got else ""
    reader.socket = reader.opened.enter_context(listening(url, device.token, path, close_timeout=0.1))


def leave(reader: Reader) -> None:
    reader.opened.close()
    reader.socket = None
