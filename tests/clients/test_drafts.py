"""Drafts that are streamed, and what ends them early."""

from contextlib import aclosing, closing

import pytest
from assistant_client import AsyncClient, Client, MemoryStore
from assistant_client.errors import Unreachable
from assistant_client.models import Draft, DraftToken, Message

from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.scripted_ml_service import ScriptedMlService
from tests.fixtures.waiting import eventually, until

SLOW = 0.1
"""Seconds a token."""


def test_closing_the_iterator_stops_the_model(client: Client, asked: Message, ml_service: ScriptedMlService) -> None:
    before = ml_service.aborted_before()
    with ml_service.paced(SLOW):
        with closing(client.stream_draft(asked.id, fresh=True)) as parts:
            assert isinstance(next(parts), DraftToken)

        eventually(lambda: ml_service.aborted == before + 1)


@pytest.mark.anyio
async def test_closing_it_on_an_event_loop_stops_the_model_too(client: Client, asked: Message, ml_service: ScriptedMlService) -> None:
    before = ml_service.aborted_before()
    with ml_service.paced(SLOW):
        async with AsyncClient(client.url, MemoryStore(client.credentials)) as drafting:
            async with aclosing(drafting.stream_draft(asked.id, fresh=True)) as parts:
                assert isinstance(await anext(parts), DraftToken)

            await until(lambda: ml_service.aborted == before + 1)


def test_a_gateway_that_dies_in_the_middle_breaks_the_draft_off(
    at_frail_gateway: Client, frail_gateway: GatewayProcess, asked: Message, ml_service: ScriptedMlService
) -> None:
    with ml_service.paced(SLOW):
        parts = at_frail_gateway.stream_draft(asked.id, fresh=True)
        next(parts)
        frail_gateway.kill()
        with pytest.raises(Unreachable) as caught:
            list(parts)
    frail_gateway.start()

    assert caught.value.maybe_done
    *_, draft = at_frail_gateway.stream_draft(asked.id, fresh=True)
    assert isinstance(draft, Draft)
    assert draft.status == "completed"


def test_a_draft_that_another_device_cancels_ends_so(client: Client, asked: Message, ml_service: ScriptedMlService) -> None:
    with ml_service.paced(SLOW):
        parts = client.stream_draft(asked.id, fresh=True)
        next(parts)
        [writing] = client.drafts(status="generating").responses
        client.cancel_draft(writing.response_id)
        *_, last = parts

    assert isinstance(last, Draft)
    assert (last.status, last.response) == ("cancelled", None)


def test_several_candidates_come_beside_each_other(client: Client, asked: Message) -> None:
    *tokens, draft = client.stream_draft(asked.id, n=2, fresh=True)

    assert isinstance(draft, Draft)
    assert draft.candidates is not None
    for index, candidate in enumerate(draft.candidates):
        assert "".join(token.text for token in tokens if isinstance(token, DraftToken) and token.index == index) == candidate.text
