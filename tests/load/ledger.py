"""What the accounts were promised, and what their devices heard."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

EventId: TypeAlias = tuple[int, int]


class Heard(NamedTuple):
    """What is kept of an event: its type, its conversation, and its draft if it is of one."""

    type: str
    conversation: str
    draft: str


@dataclass
class PairedDevice:
    """A device with its tokens, and the events that reached it."""

    id: str
    token: str
    refresh_token: str
    last_event: str = "0"
    """What it comes back with. The accounts are new: at first it asks for all that there is."""
    heard: dict[EventId, Heard] = field(default_factory=dict)
    disorder: int = 0
    """How often an event came after a later one on the same connection."""
    incomplete: int = 0
    """How often it was told that events before were not known any more."""
    connections: int = 0


@dataclass
class Account:
    """One account's devices and threads."""

    devices: list[PairedDevice]
    threads: list[str]
    conversations: set[str] = field(default_factory=set)
    """Ids of the threads that were synced."""
    answerable: list[str] = field(default_factory=list)
    """Messages that can be answered."""
    to_judge: list[str] = field(default_factory=list)
    """Completed drafts with which nobody has done anything."""
    accepted: dict[str, str] = field(default_factory=dict)
    """Queued drafts that were accepted, with their last known status."""

    def hear(self, device: PairedDevice, event: dict[str, Any], previous: EventId) -> EventId:
        """Take down an event; returns its id, for the next one on the same connection."""
        event_id = position_of(event["id"])
        device.disorder += event_id < previous
        device.last_event = event["id"]
        data = event["data"]
        if event["type"] == "replay:incomplete":
            device.incomplete += 1
        else:
            device.heard[event_id] = Heard(event["type"], data.get("conversationId", ""), data.get("responseId", ""))
        return event_id

    @property
    def open_drafts(self) -> list[str]:
        return [draft for draft, status in self.accepted.items() if status not in ENDED]

    @property
    def missed(self) -> int:
        """Events of this run's conversations that reached a device of the account, but not another one."""
        everything = {
            event_id for device in self.devices for event_id, heard in device.heard.items() if heard.conversation in self.conversations
        }
        return sum(len(everything - device.heard.keys()) for device in self.devices)

    @property
    def untold(self) -> int:
        """Accepted drafts of whose end no device was told."""
        told = {heard.draft for device in self.devices for heard in device.heard.values() if heard.type in _ENDS}
        return len(self.accepted.keys() - told)


ENDED = frozenset({"completed", "failed", "cancelled"})
_ENDS = frozenset(f"response:{status}" for status in ENDED)


def position_of(event_id: str) -> EventId:
    milliseconds, _, number = event_id.partition("-")
    return int(milliseconds), int(number or 0)


def broken_promises(accounts: list[Account]) -> list[str]:
    """A sentence for each kind of promise that was not kept."""
    devices = [device for account in accounts for device in account.devices]
    statuses = [status for account in accounts for status in account.accepted.values()]
    kinds = [
        (sum(status not in ENDED for status in statuses), "queued drafts that were accepted have not ended"),
        (sum(status in ("failed", "cancelled") for status in statuses), "queued drafts that were accepted were not completed"),
        (sum(account.missed for account in accounts), "events did not reach a device that came back with its Last-Event-ID"),
        (sum(account.untold for account in accounts), "queued drafts of whose end no device was told"),
        (sum(device.disorder for device in devices), "events came after later ones"),
        (sum(device.incomplete for device in devices), "times a device was told that its events were not known any more"),
    ]
    return [f"{count} {what}" for count, what in kinds if count]
