"""What has been done once is not done twice because its answer got lost."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from assistant_client import Client, MemoryStore, Retries
from assistant_client.errors import Unreachable
from assistant_client.models import Message

from tests.clients.conftest import elsewhere
from tests.clients.threads import thread
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.unreliable_line import UnreliableLine


@pytest.fixture
def over_line(line: UnreliableLine, client: Client) -> Iterator[Client]:
    """The same device, over a line that loses answers."""
    with Client(line.url, MemoryStore(elsewhere(client, line.url))) as other:
        yield other


@pytest.fixture
def absent_ml_service(run_folder: Path, redis_url: str) -> Iterator[ScriptedMlService]:
    """It is not started yet."""
    service = ScriptedMlService(run_folder, redis_url)
    yield service
    service.stop()


@pytest.fixture
def waiting_gateway(
    run_folder: Path, own_database_url: str, redis_url: str, absent_ml_service: ScriptedMlService
) -> Iterator[GatewayProcess]:
    process = GatewayProcess(run_folder, database_url=own_database_url, redis_url=redis_url, ml_service_url=absent_ml_service.url)
    process.start()
    yield process
    process.stop()


def test_a_batch_is_sent_again(line: UnreliableLine, over_line: Client) -> None:
    line.losing = 1
    synced = over_line.sync_messages(thread("Hello", "Hi"))

    assert (synced.created, synced.unchanged) == (0, 2)


def test_a_draft_is_queued_once(line: UnreliableLine, over_line: Client, asked: Message) -> None:
    line.losing = 2
    queued = over_line.queue_draft(asked.id)

    assert [draft.response_id for draft in over_line.drafts().responses] == [queued.response_id]


def test_a_draft_that_is_waited_for_is_made_once(line: UnreliableLine, over_line: Client, asked: Message) -> None:
    line.losing = 1
    draft = over_line.draft(asked.id)

    assert [each.response_id for each in over_line.drafts().responses] == [draft.response_id]


def test_a_streamed_draft_is_not_asked_for_again(line: UnreliableLine, over_line: Client, asked: Message) -> None:
    line.losing = 1
    with pytest.raises(Unreachable) as caught:
        list(over_line.stream_draft(asked.id))

    assert caught.value.maybe_done
    assert over_line.drafts().total == 1


def test_what_was_deleted_by_the_first_request_is_no_error(line: UnreliableLine, over_line: Client, asked: Message) -> None:
    [conversation] = over_line.conversations().conversations
    line.losing = 1
    over_line.delete_conversation(conversation.id)

    assert over_line.conversations().total == 0


def test_a_new_account_is_paired_over_a_bad_line(line: UnreliableLine) -> None:
    with Client(line.url, MemoryStore()) as client:
        line.losing = 2
        client.pair("Test")

        assert [device.current for device in client.devices()] == [True]


def test_a_draft_waits_for_a_model_that_is_away(waiting_gateway: GatewayProcess, absent_ml_service: ScriptedMlService) -> None:
    waits: list[str] = []

    def start_the_model(error: Exception, _seconds: float) -> None:
        waits.append(type(error).__name__)
        if len(waits) == 1:
            absent_ml_service.start()

    with Client(waiting_gateway.url, MemoryStore(), on_wait=start_the_model) as client:
        client.pair("Test")
        synced = client.sync_messages(thread("What time?"))
        draft = client.draft(next(client.all_messages(synced.conversation_id)).id)

    assert draft.status == "completed"
    assert waits[0] == "Unavailable"


def test_who_gives_up_says_what_is_wrong() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with Client(url, MemoryStore(), retries=Retries(attempts=2)) as client, pytest.raises(Unreachable) as caught:
        client.pair("Test")

    assert not caught.value.maybe_done
    assert url in str(caught.value)
