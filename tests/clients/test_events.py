"""Events come once each and in order, whatever happens to the gateway that they come from."""

import asyncio
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from threading import Thread

import pytest
from assistant_client import AsyncClient, Client, MemoryStore
from assistant_client.errors import AssistantError, Forbidden
from assistant_client.models import DraftToken, Event, SyncCompleted
from assistant_client.sse import EventParser, ServerSentEvent
from assistant_client.streams import Place

from tests.clients.threads import thread
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually, until


class Listener:
    """Reads a client's events in a thread of its own, until so many of a type have come."""

    def __init__(
        self, client: Client, count: int, type_: str = "sync:completed", *, after: str | None = None, tokens: bool = False
    ) -> None:
        self.events: list[Event] = []
        self.error: AssistantError | None = None
        self._client = client
        self._thread = Thread(target=self._read, args=(count, type_, after, tokens))
        self._thread.start()

    def _read(self, count: int, type_: str, after: str | None, tokens: bool) -> None:
        try:
            with closing(self._client.events(after, tokens=tokens)) as events:
                while sum(event.type == type_ for event in self.events) < count:
                    self.events.append(next(events))
        except AssistantError as error:
            self.error = error

    def wait_for(self, count: int) -> None:
        eventually(lambda: len(self.events) >= count)

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> list[Event]:
        """All events, once the last has come."""
        self._thread.join(PATIENCE_SECONDS)
        assert self.ended
        return self.events


@contextmanager
def dead(gateway: GatewayProcess) -> Iterator[None]:
    """The gateway is dead during the block, of a `kill -9`."""
    gateway.kill()
    try:
        yield
    finally:
        gateway.start()


def synced(client: Client, count: int = 1) -> list[str]:
    """Cause as many events; returns the ids of their conversations."""
    return [str(client.sync_messages(thread(f"Hello {number}")).conversation_id) for number in range(count)]


def conversations_of(events: list[Event]) -> list[str]:
    return [event.data["conversationId"] for event in events]


def test_what_happened_while_the_gateway_was_dead_is_read_afterwards(
    frail_gateway: GatewayProcess, at_frail_gateway: Client, client: Client
) -> None:
    started = synced(client)
    listener = Listener(at_frail_gateway, 5, after="0")
    listener.wait_for(1)

    with dead(frail_gateway):
        missed = synced(client, 3)
    after = synced(client)

    assert conversations_of(listener.end()) == started + missed + after
    assert isinstance(listener.events[0].body(), SyncCompleted)


@pytest.mark.anyio
async def test_the_same_on_an_event_loop(frail_gateway: GatewayProcess, at_frail_gateway: Client, client: Client) -> None:
    started = synced(client)
    got: list[Event] = []

    async with AsyncClient(frail_gateway.url, MemoryStore(at_frail_gateway.credentials)) as reader:

        async def read() -> None:
            async with aclosing(reader.events("0")) as events:
                async for event in events:
                    got.append(event)  # noqa: PERF401 - each at once: nobody knows when it ends

        reading = asyncio.create_task(read())
        await until(lambda: len(got) == 1)
        with dead(frail_gateway):
            await asyncio.sleep(0.1)  # the reader notices, and tries again
            missed = synced(client, 2)
        await until(lambda: len(got) >= 3)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)

    assert conversations_of(got) == started + missed


def test_what_is_not_known_any_more_is_told(client: Client) -> None:
    [known] = synced(client)

    with closing(client.events("1700000000000-0")) as events:
        told, event = next(events), next(events)

    assert (told.type, event.data["conversationId"]) == ("replay:incomplete", known)


def test_a_draft_is_seen_while_it_is_written(client: Client) -> None:
    message = next(client.all_messages(client.sync_messages(thread("What time?")).conversation_id))
    listener = Listener(client, 1, "response:token", tokens=True)

    def heard() -> bool:
        """One that began before anybody listened is told without its pieces."""
        client.draft(message.id, fresh=True)
        return listener.ended

    eventually(heard)

    token = listener.end()[-1].body()
    assert isinstance(token, DraftToken)
    assert token.text


def test_a_device_that_is_shut_out_hears_no_more(client: Client) -> None:
    listener = Listener(client, 2, after="0")
    synced(client)
    listener.wait_for(1)
    client.deactivate_device(client.credentials.device_id)
    listener.end()

    assert isinstance(listener.error, Forbidden)


def sent(event_id: str, name: str = "sync:completed") -> ServerSentEvent:
    data = b'{"id":"%b","type":"%b","at":"2026-03-06T12:00:00Z","data":{}}' % (event_id.encode(), name.encode())
    return ServerSentEvent(name, data, event_id)


def test_an_event_that_comes_twice_is_taken_once() -> None:
    place = Place(None, tokens=True)
    stream = [sent("5-0"), sent("5-1"), sent("5-0"), sent("5-1"), sent("10-0")]

    taken = [event.id for each in stream if (event := place.take(each)) is not None]

    assert taken == ["5-0", "5-1", "10-0"]
    assert place.call() == Place("10-0", tokens=True).call()


def test_a_stream_that_breaks_before_its_first_event_is_come_back_to() -> None:
    place = Place(None, tokens=False)

    assert place.take(ServerSentEvent("message", b"", "7-0")) is None
    assert place.call() == Place("7-0", tokens=False).call()


def test_a_stream_may_be_cut_anywhere_and_have_any_characters() -> None:
    stream = 'id: 1-0\nevent: token\ndata: {"text":"a\u2028b\u0085c 🎉"}\n\n: heartbeat\n\nevent: completed\r\ndata: {}\r\n\r\n'.encode()
    expected = [ServerSentEvent("token", '{"text":"a\u2028b\u0085c 🎉"}'.encode(), "1-0"), ServerSentEvent("completed", b"{}", "")]

    for size in range(1, len(stream) + 1):
        parser = EventParser()
        pieces = [stream[begin : begin + size] for begin in range(0, len(stream), size)]
        assert [event for piece in pieces for event in parser.feed(piece)] == expected
