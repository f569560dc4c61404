"""What an import did, in numbers and names of rows; never a message's text."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field

from assistant_client.importers.items import LeftOut
from assistant_client.models import SyncedMessages

_MOST_THREADS = 20
"""Threads that are told, those with the most news."""
_MOST_NAMES = 100
"""Names of damaged rows that are kept, a reason."""


@dataclass(slots=True)
class Counts:
    """Messages."""

    created: int = 0
    updated: int = 0
    unchanged: int = 0
    read: int = 0
    """What would have been sent, where nothing is."""

    @property
    def news(self) -> int:
        return self.created + self.updated + self.read

    @property
    def total(self) -> int:
        return self.news + self.unchanged

    def add(self, synced: SyncedMessages) -> None:
        self.created += synced.created
        self.updated += synced.updated
        self.unchanged += synced.unchanged


@dataclass(slots=True)
class Summary:
    """Grows while an import goes on."""

    messages: Counts = field(default_factory=Counts)
    contacts: Counts = field(default_factory=Counts)
    threads: dict[str, Counts] = field(default_factory=lambda: defaultdict(Counts))
    left_out: Counter[str] = field(default_factory=Counter)
    damaged: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Names of rows, by the reason."""

    def leave_out(self, row: LeftOut) -> None:
        self.left_out[row.reason] += 1
        if row.is_damaged and len(names := self.damaged[row.reason]) < _MOST_NAMES:
            names.append(row.row)

    def lines(self) -> list[str]:
        """In words, a line each."""
        return [*self._what_came(), *self._what_did_not()]

    def _what_came(self) -> list[str]:
        lines = [_sentence("Contacts", self.contacts)] if self.contacts.total else []
        lines.append(_sentence("Messages", self.messages))
        threads = sorted(self.threads.items(), key=lambda each: each[1].news, reverse=True)
        lines += [f"  {_sentence(identifier, counts)}" for identifier, counts in threads[:_MOST_THREADS]]
        if len(threads) > _MOST_THREADS:
            lines.append(f"  and {len(threads) - _MOST_THREADS:,} more threads")
        return lines

    def _what_did_not(self) -> list[str]:
        if not self.left_out:
            return ["Left out: nothing"]
        lines = [f"Left out: {self.left_out.total():,}"]
        for reason, count in self.left_out.most_common():
            lines.append(f"  {count:,} of: {reason}")
            if names := self.damaged.get(reason):
                more = f" and {count - len(names):,} more" if count > len(names) else ""
                lines.append(f"    {', '.join(names)}{more}")
        return lines


def _sentence(what: str, counts: Counts) -> str:
    if counts.read:
        return f"{what}: {counts.read:,} would be sent"
    return f"{what}: {counts.created:,} new, {counts.updated:,} changed, {counts.unchanged:,} unchanged"
