"""Sends what a source gives to the gateway, window by window, and writes down after each how far it came.

A batch that is sent twice changes nothing, so an import that was killed goes on from the last window whose messages were all stored.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime

import msgspec

from assistant_client.importers.checking import storable
from assistant_client.importers.destination import Destination
from assistant_client.importers.items import LeftOut, Source, Thread, Window
from assistant_client.importers.progress import Progress, ProgressFile
from assistant_client.importers.summary import Summary
from assistant_client.models import ContactCard, MessageBatch, SyncedMessage

MOST_MESSAGES = 1_000
MOST_BYTES = 7 * 2**20
"""Of a batch's messages as JSON; the gateway takes 8 MiB with what stands around them."""
_MOST_CONTACTS = 1_000
_MOST_PARTICIPANTS = 1_000
_LONGEST_NAME = 500

Told = Callable[[int], None]


class Sender:
    """Sends to one destination and counts. Without a destination it only counts."""

    def __init__(self, destination: Destination | None, *, since: datetime | None = None, region: str | None = None) -> None:
        """`since`: what was sent earlier is left out. `region`: where telephone numbers without a country code belong (ISO 3166-1)."""
        self.summary = Summary()
        self._destination = destination
        self._since = since
        self._region = region
        self._encoder = msgspec.json.Encoder()

    def run(self, source: Source, progress_file: ProgressFile | None, told: Told = lambda position: None) -> Progress:
        """Send everything that was not sent before. `told` hears of each position that was reached."""
        self.send_contacts(source.contacts())
        progress = self.resumed(source, progress_file)
        self.go_on(source, progress, progress_file, told)
        return progress

    def go_on(self, source: Source, progress: Progress, progress_file: ProgressFile | None, told: Told = lambda position: None) -> None:
        """Send what lies behind a progress, and move it. While a window is sent, in a thread of its own, the next one is read.

        The progress stays before a row that may still be being written.
        """

        def send(window: Window, position: int, marks: dict[str, str]) -> None:
            self.send_window(window, progress)
            progress.position, progress.marks = position, marks
            if progress_file is not None and self._destination is not None:
                progress_file.write(progress)
            told(window.position)

        incomplete_after: int | None = None
        sending: Future[None] | None = None
        with ThreadPoolExecutor(max_workers=1) as sender:
            for window in source.windows(progress.position):
                incomplete_after = window.incomplete_after if incomplete_after is None else incomplete_after
                position = window.position if incomplete_after is None else incomplete_after
                marks = source.marks(position)
                if sending is not None:
                    sending.result()
                sending = sender.submit(send, window, position, marks)
            if sending is not None:
                sending.result()

    def send_contacts(self, cards: Iterable[ContactCard]) -> None:
        """Contacts come before the messages, so that these find the people they are from."""
        counts = self.summary.contacts
        for some in _groups(cards, _MOST_CONTACTS):
            if self._destination is None:
                counts.read += len(some)
                continue
            synced = self._destination.sync_contacts(some, default_region=self._region)
            counts.created += synced.created
            counts.updated += synced.updated
            counts.unchanged += synced.unchanged

    def send_window(self, window: Window, progress: Progress) -> None:
        """Send a window's messages, thread by thread."""
        for row in window.left_out:
            self.summary.leave_out(row)
        threads: dict[str, tuple[Thread, dict[str, SyncedMessage]]] = {}
        for item in window.items:
            if self._since is not None and item.message.sent_at < self._since:
                self.summary.leave_out(LeftOut(item.row, "sent before --since"))
                continue
            # The same guid twice is one message; the later row has its newer state.
            threads.setdefault(item.thread.identifier, (item.thread, {}))[1][item.message.imessage_guid] = item.message
        for thread, messages in threads.values():
            for batch in self._batches(list(messages.values())):
                self._send(thread, batch, progress)

    def _send(self, thread: Thread, messages: list[SyncedMessage], progress: Progress) -> None:
        counts = self.summary.threads[thread.identifier]
        if self._destination is None:
            counts.read += len(messages)
            self.summary.messages.read += len(messages)
            return
        synced = self._destination.sync_messages(batch_of(thread, messages))
        counts.add(synced)
        self.summary.messages.add(synced)
        progress.remember(thread.identifier, str(synced.conversation_id))

    def _batches(self, messages: list[SyncedMessage]) -> Iterator[list[SyncedMessage]]:
        batch: list[SyncedMessage] = []
        size = 0
        for message in messages:
            length = len(self._encoder.encode(message)) + 1
            if batch and (len(batch) == MOST_MESSAGES or size + length > MOST_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(message)
            size += length
        if batch:
            yield batch

    def resumed(self, source: Source, progress_file: ProgressFile | None) -> Progress:
        """The progress to go on from: none if the source's rows or the account are others now, or if more is wanted than then."""
        fresh = Progress(since=self._since)
        if progress_file is None or self._destination is None:
            return fresh
        progress = progress_file.read()
        if progress.position == 0 or not progress.covers(self._since) or not source.goes_on_from(progress.position, progress.marks):
            return fresh
        there = {each.conversation_imessage_id: str(each.conversation_id) for each in self._destination.sync_state().conversations}
        if progress.threads and not any(there.get(identifier) == known for identifier, known in progress.threads.items()):
            return fresh
        progress.since = self._since
        return progress


def batch_of(thread: Thread, messages: list[SyncedMessage]) -> MessageBatch:
    """A batch as the gateway takes it: a name that is too long is cut."""
    name = thread.display_name
    return MessageBatch(
        conversation_imessage_id=thread.identifier,
        conversation_display_name=storable(name)[:_LONGEST_NAME] if name else None,
        is_group=thread.is_group,
        participant_ids=list(thread.participant_ids[:_MOST_PARTICIPANTS]),
        messages=messages,
    )


def _groups(cards: Iterable[ContactCard], most: int) -> Iterator[list[ContactCard]]:
    group: list[ContactCard] = []
    for card in cards:
        group.append(card)
        if len(group) == most:
            yield group
            group = []
    if group:
        yield group
