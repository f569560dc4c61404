"""Whatever the bytes are: a parser reads them or says that it cannot, and nothing else comes out of it."""

import json
from contextlib import suppress
from datetime import UTC
from pathlib import Path

import pytest
from assistant_client.importers.apple.edits import last_version
from assistant_client.importers.checking import problem_of
from assistant_client.importers.failures import ImportFailure
from assistant_client.importers.items import Thread
from assistant_client.importers.sending import batch_of
from assistant_client.importers.sources import Said, opened_source
from assistant_client.importers.vcard import people
from assistant_client.importers.whatsapp_lines import date_orders, header
from assistant_client.importers.whatsapp_text import content_of
from assistant_client.models import Attachment, SyncedMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.importing import sent
from tests.clients.importers.made_chat_db import summary_info
from tests.clients.importers.test_contacts import CARDS
from tests.clients.importers.test_telegram import ME, SAM, account, chat, row
from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess

INFO = summary_info(sent=3, edited={0: ["at six", "at seven"]}, unsent=[1])
EXPORT = json.dumps(account(chat(row(1, SAM, "hi", photo="a.jpg"), row(2, ME, ["see ", {"type": "link", "text": "x"}])))).encode()
CHAT = "31.12.23, 21:41 - Sam: first\nand more\n31.12.23, 21:42 - Alex: \u200e<attached: a.jpg>\n".encode()
VCARD = CARDS["3.0, as macOS writes it"][0].encode()


def damaged(content: bytes) -> st.SearchStrategy[bytes]:
    """Some bytes changed, and perhaps the end cut off."""
    changes = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), min_size=1, max_size=4)

    def change(places: list[tuple[int, int]], end: int) -> bytes:
        data = bytearray(content)
        for place, value in places:
            data[place] = value
        return bytes(data[:end])

    return st.builds(change, changes, st.one_of(st.just(len(content)), st.integers(1, len(content))))


@given(st.one_of(damaged(INFO), st.binary(max_size=200)))
def test_what_is_known_of_edits(info: bytes) -> None:
    with suppress(ValueError):
        last_version(info, {0: "at six", 1: "secret", 2: "bring salad"})


@given(st.text(max_size=100), st.text(max_size=100))
def test_lines_of_whatsapp(line: str, text: str) -> None:
    found = header(f"31.12.23, 21:41 - {line}: {text}")
    assert found is not None
    assert date_orders([found]) == {"dmy"}
    header(line)
    content_of(text, {})


@pytest.mark.parametrize(("name", "content"), [("WhatsApp Chat with Sam.txt", CHAT), ("result.json", EXPORT), ("contacts.vcf", VCARD)])
def test_whole_files(tmp_path_factory: pytest.TempPathFactory, name: str, content: bytes) -> None:
    path = tmp_path_factory.mktemp("damaged") / name

    @given(damaged(content))
    def import_it(data: bytes) -> None:
        path.write_bytes(data)
        with suppress(ImportFailure):
            sent(opened_source(path, Said(owner=None)), None, None)

    import_it()


def handles() -> st.SearchStrategy[str]:
    return st.one_of(st.text(max_size=400), st.from_regex(r"\+1415555\d{4}", fullmatch=True))


def messages() -> st.SearchStrategy[SyncedMessage]:
    text = st.one_of(st.none(), st.text(max_size=50))
    times = st.datetimes(timezones=st.just(UTC))
    return st.builds(
        SyncedMessage,
        imessage_guid=st.text(max_size=250),
        sender_id=handles(),
        direction=st.sampled_from(["incoming", "outgoing"]),
        message_type=st.sampled_from(["text", "attachment", "reaction", "system"]),
        sent_at=times,
        text=text,
        edited_at=st.one_of(st.none(), times),
        retracted_at=st.one_of(st.none(), times),
        reply_to_guid=text,
        associated_message_guid=text,
        associated_message_type=st.one_of(st.sampled_from([None, "sticker", 2000, 2006, 3007]), st.text(max_size=60)),
        associated_message_emoji=text,
        attachments=st.one_of(st.none(), st.lists(st.builds(Attachment, guid=text, mime_type=text, filename=text), max_size=3)),
    )


@settings(max_examples=40)
@given(st.lists(messages(), max_size=60, unique_by=lambda each: each.imessage_guid))
def test_what_is_checked_here_the_gateway_takes(gateway: GatewayProcess, sent_messages: list[SyncedMessage]) -> None:
    """A batch that it refused would stop an import for good."""
    taken = [message for message in sent_messages if problem_of(message) is None]
    with GatewayDestination(paired_device(gateway.url)) as destination:
        synced = destination.sync_messages(batch_of(Thread(identifier="any", display_name="a\0\ud800" * 400), taken))

    assert synced.created == len(taken)


@given(st.binary(max_size=300))
def test_any_card(tmp_path_factory: pytest.TempPathFactory, card: bytes) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "any.vcf"
    path.write_bytes(b"BEGIN:VCARD\r\n" + card + b"\r\nEND:VCARD\r\n")
    for _ in people(path):
        pass
