"""Following a `chat.db` that Messages writes to."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from assistant_client.errors import Unreachable
from assistant_client.importers.apple.follow import Follower
from assistant_client.importers.sending import Sender
from assistant_client.models import MessageBatch, SyncedMessages

from tests.clients.importers.gateway_destination import GatewayDestination
from tests.clients.importers.made_chat_db import START, MadeChatDb, apple_date, summary_info
from tests.clients.importers.made_typedstream import attributed_body
from tests.fixtures.waiting import eventually

SAM = "+14155550100"
SAM_CHAT = f"iMessage;-;{SAM}"
LATER = apple_date(START + timedelta(hours=1))
INTERVAL = 0.02


@contextmanager
def following(made: MadeChatDb, destination: GatewayDestination, told: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """A follower in a thread of its own, until the end of the block."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def follow() -> None:
        try:
            Follower(made.path, Sender(destination), made.path.parent / "state", told).run(stop, INTERVAL)
        except BaseException as failure:
            failures.append(failure)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert failures == []


def shows(destination: GatewayDestination, *texts: str | None) -> None:
    eventually(lambda: bool(destination.threads()) and destination.texts(SAM_CHAT) == list(texts))


def test_what_comes_is_sent(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    sam.they("before")
    with following(made, destination):
        shows(destination, "before")
        sam.they("now")
        shows(destination, "before", "now")
        made.direct_chat(SAM, "SMS").they("from another chat")
        shows(destination, "before", "now", "from another chat")


def test_edits_retractions_and_tapbacks_of_rows_that_were_passed_come_too(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    plan, secret, joke = sam.they("at six"), sam.they("secret"), sam.they("joke")
    with following(made, destination):
        shows(destination, "at six", "secret", "joke")
        made.change(plan, attributedBody=attributed_body("at seven"), date_edited=LATER)
        shows(destination, "at seven", "secret", "joke")
        made.change(secret, attributedBody=None, message_summary_info=summary_info(sent=1, unsent=[0]), date_edited=LATER)
        shows(destination, "at seven", None, "joke")
        sam.i(associated_message_guid=f"p:0/{joke}", associated_message_type=2003)
        eventually(lambda: [each["type"] for each in destination.messages(SAM_CHAT)[2]["reactions"]] == ["laugh"])
        made.change(plan, attributedBody=attributed_body("at eight"), date_edited=LATER + 10**9)
        eventually(lambda: destination.texts(SAM_CHAT)[0] == "at eight")


def test_started_again_it_brings_what_happened_meanwhile_and_nothing_else(made: MadeChatDb, destination: GatewayDestination) -> None:
    sam = made.direct_chat(SAM)
    plan = sam.they("at six")
    for number in range(20):
        sam.they(f"message {number}")
    with following(made, destination):
        eventually(lambda: sum(destination.batches) == 21)
    made.change(plan, attributedBody=attributed_body("at seven"), date_edited=LATER)
    sam.they("last")
    with following(made, destination):
        eventually(lambda: sum(destination.batches) >= 23)
        time.sleep(10 * INTERVAL)

    assert destination.texts(SAM_CHAT)[:1] == ["at seven"]
    assert sum(destination.batches) == 23


def test_a_restored_database_in_its_place_is_read_from_its_beginning(
    made: MadeChatDb, destination: GatewayDestination, tmp_path: Path
) -> None:
    sam = made.direct_chat(SAM)
    sam.they("one")
    sam.they("two")
    told: list[str] = []
    (tmp_path / "other").mkdir()
    restored = MadeChatDb(tmp_path / "other" / "chat.db")
    other = restored.direct_chat(SAM)
    other.they("three", date=LATER)
    restored.db.execute("pragma wal_checkpoint(truncate)")
    restored.close()
    with following(made, destination, told.append):
        shows(destination, "one", "two")
        made.close()
        for name in ("chat.db-wal", "chat.db-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        made.path.unlink()
        eventually(lambda: told[:1] == ["The database cannot be read just now; trying again in 0 s"])
        (tmp_path / "other" / "chat.db").replace(made.path)
        shows(destination, "one", "two", "three")

    assert told[-1] == "The database is another one now, or was restored: it is read from its beginning"


class Interrupted(GatewayDestination):
    """A gateway that is away at first."""

    refusals = 2

    def sync_messages(self, batch: MessageBatch) -> SyncedMessages:
        if self.refusals:
            self.refusals -= 1
            raise Unreachable("nobody listens", maybe_done=False)
        return super().sync_messages(batch)


def test_while_the_gateway_is_away_it_asks_again(made: MadeChatDb, destination: GatewayDestination) -> None:
    made.direct_chat(SAM).they("hello")
    destination.__class__ = Interrupted
    told: list[str] = []

    with following(made, destination, told.append):
        shows(destination, "hello")

    assert len(told) == 2
    assert told[0].startswith("The gateway is away")


def test_without_changes_it_reads_no_table(made: MadeChatDb, destination: GatewayDestination) -> None:
    made.direct_chat(SAM).they("hello")
    follower = Follower(made.path, Sender(destination), made.path.parent / "state")
    follower._look(everywhere=True)
    statements: list[str] = []
    follower._source._db.set_trace_callback(statements.append)

    for _ in range(200):
        follower._changes()

    follower._source.close()
    assert set(statements) == {"pragma data_version"}
    assert destination.batches == [1]
