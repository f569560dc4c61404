"""Importing a `chat.db`: reading it and sending it, beside the same batches, made before and only sent."""

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

from assistant_client.importers.apple.chat_db import ChatDb
from assistant_client.importers.progress import ProgressFile
from assistant_client.importers.sending import Sender
from assistant_client.models import ContactCard, MessageBatch, MessageId, SyncedContacts, SyncedMessages, SyncState

from shared.ids import new_id
from tests.benchmarks import plain_http
from tests.benchmarks.made_up_history import WORDS
from tests.benchmarks.measure import Goal, Measurement, alternate
from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.made_chat_db import START, MadeChat, MadeChatDb, apple_date
from tests.factories import paired_device
from tests.fixtures.gateway import GatewayProcess
from tests.fixtures.ports import free_port
from tests.fixtures.servers import own_servers

THREADS = 60
REPEATED = 40
"""Messages that follow each other in one thread, in the mean."""


def measure(folder: Path, rounds: int, *, messages: int) -> list[Measurement]:
    """Messages a second, each side into a new account of a real gateway."""
    made = _made(folder / "chat.db", messages)
    recorded = _Recorder()
    _import(made, recorded, None)
    with ExitStack() as stack:
        postgres, valkey = stack.enter_context(own_servers(folder / "import"))
        gateway = GatewayProcess(folder, database_url=postgres.url, redis_url=valkey.url, ml_service_url=f"http://127.0.0.1:{free_port()}")
        stack.callback(gateway.stop)
        gateway.start()

        def ours() -> float:
            state = folder / "state" / new_id().hex
            with GatewayDestination(paired_device(gateway.url)) as destination:
                return messages / _import(made, destination, state)

        def theirs() -> float:
            return messages / asyncio.run(_send(gateway.url, recorded.batches))

        imported, sent = alternate(rounds, ours, theirs)
    return [
        Measurement(
            what=f"import of a chat.db of {messages:,} messages",
            unit="messages/s",
            ours=imported,
            against="the same batches, only sent",
            theirs=sent,
            goal=Goal(rule="ratio at least", value=0.5),
        )
    ]


def _import(path: Path, destination: "_Recorder | GatewayDestination", state: Path | None) -> float:
    """Seconds that an import takes."""
    begin = time.perf_counter()
    source = ChatDb(path)
    Sender(destination).run(source, ProgressFile(state, source.key) if state else None)
    source.close()
    return time.perf_counter() - begin


async def _send(url: str, batches: list[MessageBatch]) -> float:
    """Seconds that it takes to send batches one after the other, on one connection; they are encoded before."""
    headers = {"Authorization": f"Bearer {paired_device(url).token}"}
    requests = [plain_http.post(f"{url}/api/sync/messages", batch, headers) for batch in batches]
    begin = time.perf_counter()
    reader, writer = await plain_http.connect(url)
    for request in requests:
        await plain_http.ask(reader, writer, request)
    writer.close()
    await writer.wait_closed()
    return time.perf_counter() - begin


class _Recorder:
    """Keeps what an import sends."""

    def __init__(self) -> None:
        self.batches: list[MessageBatch] = []

    def sync_messages(self, batch: MessageBatch) -> SyncedMessages:
        self.batches.append(batch)
        ids = [MessageId(imessage_guid=message.imessage_guid, id=new_id()) for message in batch.messages]
        return SyncedMessages(conversation_id=new_id(), created=len(ids), updated=0, unchanged=0, messages=ids)

    def sync_contacts(self, cards: Sequence[ContactCard], default_region: str | None = None) -> SyncedContacts:
        return SyncedContacts(created=len(cards), updated=0, unchanged=0, contacts=[], results=[])

    def sync_state(self) -> SyncState:
        return SyncState(conversations=[])


def _made(path: Path, messages: int) -> Path:
    """A database as people's are: some ten words a message, tapbacks and replies among them, threads that come and go."""
    drawn = random.Random(3)
    made = MadeChatDb(path)
    chats = [made.direct_chat(f"+1415555{number:04}") for number in range(THREADS)]
    made.db.execute("begin")
    chat, latest = chats[0], ""
    for number in range(messages):
        if drawn.random() < 1 / REPEATED:
            chat, latest = drawn.choice(chats), ""
        latest = _message(drawn, chat, latest, date=apple_date(START + timedelta(seconds=37 * number)))
    made.db.execute("commit")
    made.close()
    return path


def _message(drawn: random.Random, chat: MadeChat, latest: str, *, date: int) -> str:
    say = chat.i if drawn.random() < 0.5 else chat.they
    if latest and drawn.random() < 0.05:
        say(associated_message_guid=f"p:0/{latest}", associated_message_type=2001, date=date)
        return latest
    return say(" ".join(drawn.choices(WORDS, k=drawn.randint(3, 18))), date=date)
