"""The main job, from pairing to a sample and out again, with both clients."""

import zipfile
from contextlib import aclosing
from pathlib import Path

import pytest
from assistant_client import AsyncClient, Client, MemoryStore
from assistant_client.device import this_device
from assistant_client.errors import Conflict, NotFound, NotPaired
from assistant_client.models import ContactCard, Draft, DraftToken

from tests.clients.threads import thread
from tests.fixtures.gateway import GatewayProcess


def test_a_thread_becomes_a_draft_and_the_draft_a_sample(client: Client, tmp_path: Path) -> None:
    client.sync_contacts([ContactCard(email="sam@example.com", display_name="Sam Lake")])
    synced = client.sync_messages(thread("Are we still on for Saturday?", "yes!!", "What time?"))
    [conversation] = client.conversations("Lake").conversations
    newest = next(client.all_messages(conversation.id))
    assert (newest.text, newest.sender_name) == ("What time?", "Sam Lake")

    *tokens, draft = client.stream_draft(newest.id)
    assert isinstance(draft, Draft)
    assert "".join(part.text for part in tokens if isinstance(part, DraftToken)) == draft.response
    assert client.draft(newest.id, fresh=True).response_id != draft.response_id

    action = client.edit(draft.response_id, "ten is perfect")
    [sample] = client.samples().samples
    assert (sample.id, sample.output, sample.rejected_output) == (action.sample_id, "ten is perfect", draft.response)
    with pytest.raises(Conflict):
        client.reject(draft.response_id)
    assert client.draft_details(draft.response_id).action == "edit"

    client.export(tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as export:
        assert b"ten is perfect" in export.read("samples.ndjson")
    assert (tmp_path / "export.zip").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["export.zip"]

    client.delete_conversation(synced.conversation_id)
    with pytest.raises(NotFound):
        client.messages(synced.conversation_id)
    client.delete_account(client.credentials.account_id)
    with pytest.raises(NotPaired):
        client.devices()


@pytest.mark.anyio
async def test_the_same_on_an_event_loop(drafting_gateway: GatewayProcess, tmp_path: Path) -> None:
    async with AsyncClient(drafting_gateway.url, MemoryStore()) as client:
        await client.pair("Test")
        await client.sync_contacts([ContactCard(email="sam@example.com", display_name="Sam Lake")])
        await client.sync_messages(thread("Are we still on for Saturday?", "yes!!", "What time?"))
        [conversation] = [each async for each in client.all_conversations("Lake")]
        newest, *_ = [message async for message in client.all_messages(conversation.id)]

        async with aclosing(client.stream_draft(newest.id)) as parts:
            *tokens, draft = [part async for part in parts]
        assert isinstance(draft, Draft)
        assert "".join(part.text for part in tokens if isinstance(part, DraftToken)) == draft.response

        await client.accept(draft.response_id)
        [sample] = (await client.samples()).samples
        assert sample.output == draft.response

        await client.export(tmp_path / "export.zip")
        assert zipfile.is_zipfile(tmp_path / "export.zip")
        await client.delete_account(client.credentials.account_id)
        with pytest.raises(NotPaired):
            await client.devices()


def test_a_second_device_is_paired_with_the_code_that_the_first_shows(client: Client, drafting_gateway: GatewayProcess) -> None:
    pairing = client.add_device(this_device("Phone"))
    with Client(drafting_gateway.url, MemoryStore()) as phone:
        phone.pair(device_id=pairing.device_id, code=pairing.code)

        assert phone.credentials.account_id == client.credentials.account_id
        assert [device.name for device in phone.devices()] == ["Test", "Phone"]


def test_every_message_is_read_page_by_page(client: Client) -> None:
    texts = [f"message {number}" for number in range(450)]
    synced = client.sync_messages(thread(*texts))

    assert [message.text for message in client.all_messages(synced.conversation_id)] == texts[::-1]


def test_every_thread_is_read_page_by_page(client: Client) -> None:
    names = {f"Thread {number}" for number in range(130)}
    for name in names:
        client.sync_messages(thread("Hello", name=name))

    assert sorted(str(thread.display_name) for thread in client.all_conversations()) == sorted(names)
