"""Events reach the account's readers, on whichever gateway, once and in order."""

from tests.factories import Device, paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.gateway.events.readers import listening, named, numbers_of, publish, received, streaming


def test_an_event_reaches_every_gateway(gateway: GatewayProcess, replica: GatewayProcess, owner: Device, redis_url: str) -> None:
    with listening(gateway.url, owner.token) as here, listening(replica.url, owner.token) as there:
        publish(redis_url, owner.account_id, [1])

        (event,), (same,) = received(here), received(there)

    assert event == same
    assert (event["type"], event["data"]["number"]) == ("sync:completed", 1)
    assert set(event) == {"id", "type", "at", "data"}


def test_events_come_in_order(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    with listening(gateway.url, owner.token) as socket:
        publish(redis_url, owner.account_id, range(500))

        assert numbers_of(received(socket, 500)) == list(range(500))


def test_server_sent_events_are_the_same(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    with listening(gateway.url, owner.token) as socket, streaming(gateway.url, owner.token) as events:
        next(events)
        publish(redis_url, owner.account_id, [1])

        (envelope,), event = received(socket), next(named(events))

    assert event["event"] == envelope["type"]
    assert event["id"] == envelope["id"]
    assert f'"id":"{envelope["id"]}"' in event["data"]


def test_a_stranger_gets_nothing(gateway: GatewayProcess, owner: Device, redis_url: str) -> None:
    stranger = paired_device(gateway.url)
    with listening(gateway.url, stranger.token) as socket:
        publish(redis_url, owner.account_id, [1])
        publish(redis_url, stranger.account_id, [2])

        assert numbers_of(received(socket)) == [2]
