"""One ML replica, event by event: a draft comes, is let into the batch, ends.

All answers in a batch gain a token a step, so one clock counts the steps of all of them, and a draft ends when that clock has gone on by as
many as it has tokens. While a prompt is read or an adapter is loaded the clock stands still. Replicas know nothing of each other.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice

from deploy.simulate.inputs import Load, Replica


class LruCache:
    """Remembers the last `capacity` keys that it was asked for, and counts how many of those that count it knew."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._keys: OrderedDict[Hashable, None] = OrderedDict()
        self.asked = 0
        self.known = 0

    def knows(self, key: Hashable, *, counts: bool = True) -> bool:
        """Whether a key is here. It is from now on; the one that was not asked for longest makes room."""
        found = key in self._keys
        self.asked += counts
        self.known += found and counts
        self._keys[key] = None
        self._keys.move_to_end(key)
        if len(self._keys) > self._capacity:
            self._keys.popitem(last=False)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Draft:
    """A draft on its way to a replica."""

    seconds: float
    account: int
    session: int
    tokens: float
    has_adapter: bool


@dataclass(slots=True)
class Outcome:
    """What became of a replica's drafts up to the end: `arrived` is `len(latencies) + refused + left`."""

    arrived: int = 0
    refused: int = 0
    left: int = 0
    """Neither written nor refused when the time was over."""
    latencies: list[float] = field(default_factory=list)
    """Seconds from the arrival to the last token, in the order in which drafts ended."""
    busy_seconds: float = 0.0
    """While there was anything in the batch."""
    draft_seconds: float = 0.0
    """Drafts in the batch, summed over the time."""
    adapters: LruCache = field(default_factory=lambda: LruCache(1))
    prefixes: LruCache = field(default_factory=lambda: LruCache(1))


class Engine:
    """Works on drafts in the order in which they came. One that finds no place among the adapters of the batch is overtaken.

    Args:
        replica: how fast it is, and its limits.
        load: how long prompts are.
        measured_from: drafts that came before are not in the outcome; they only warm the caches.
    """

    def __init__(self, replica: Replica, load: Load, measured_from: float = 0.0) -> None:
        self._replica = replica
        self._load = load
        self._measured_from = measured_from
        self._now = 0.0
        self._still_until = 0.0
        self._steps = 0.0
        self._waiting: list[Draft] = []
        self._running: list[tuple[float, float, int, Draft]] = []
        """A heap: the step at which a draft ends, the seconds that it waits beside, a number that decides between equals, the draft."""
        self._in_batch: Counter[int] = Counter()
        self._begun = 0
        self.outcome = Outcome(
            adapters=LruCache(replica.max_loaded_adapters), prefixes=LruCache(max(1, replica.kv_tokens // load.prompt_tokens))
        )

    def run(self, drafts: Iterator[Draft], until: float) -> Outcome:
        """All that happens to these drafts, which come in the order of their time, until then."""
        coming = next(drafts, None)
        while True:
            ends = self._next_end()
            comes = coming.seconds if coming is not None else until
            if min(ends, comes) >= until:
                break
            if coming is not None and comes <= ends:
                self._go_on_to(comes)
                self._arrive(coming)
                coming = next(drafts, None)
            else:
                self._go_on_to(ends)
                self._end()
            self._let_in()
        self._go_on_to(until)
        self.outcome.left = sum(map(self._counts, [*self._waiting, *(draft for *_, draft in self._running)]))
        return self.outcome

    def _step_seconds(self) -> float:
        return self._replica.step(len(self._running), len(self._in_batch))

    def _next_end(self) -> float:
        if not self._running:
            return float("inf")
        return max(self._now, self._still_until) + (self._running[0][0] - self._steps) * self._step_seconds()

    def _go_on_to(self, moment: float) -> None:
        moment = max(moment, self._now)
        if self._running:
            begin = max(self._now, self._still_until)
            self._steps += max(0.0, moment - begin) / self._step_seconds()
            seconds = max(0.0, moment - max(self._now, self._measured_from))
            self.outcome.busy_seconds += seconds
            self.outcome.draft_seconds += seconds * len(self._running)
        self._now = moment

    def _counts(self, draft: Draft) -> bool:
        return draft.seconds >= self._measured_from

    def _arrive(self, draft: Draft) -> None:
        self.outcome.arrived += self._counts(draft)
        if len(self._running) + len(self._waiting) >= self._replica.max_num_seqs + self._replica.max_queued_requests:
            self.outcome.refused += self._counts(draft)
        else:
            self._waiting.append(draft)

    def _end(self) -> None:
        _, extra, _, draft = heappop(self._running)
        if draft.has_adapter:
            self._in_batch[draft.account] -= 1
            if not self._in_batch[draft.account]:
                del self._in_batch[draft.account]
        if self._counts(draft):
            self.outcome.latencies.append(self._now - draft.seconds + extra)

    def _let_in(self) -> None:
        """Whoever has a place; the engine sees no more of those that wait than it has places for."""
        seen = list(islice(self._waiting, self._replica.max_num_seqs - len(self._running)))
        for draft in seen:
            if draft.has_adapter and draft.account not in self._in_batch and len(self._in_batch) >= self._replica.max_loras:
                continue
            self._waiting.remove(draft)
            self._begin(draft)

    def _begin(self, draft: Draft) -> None:
        counts, outcome = self._counts(draft), self.outcome
        still, extra = 0.0, 0.0
        if draft.has_adapter:
            self._in_batch[draft.account] += 1
            if not outcome.adapters.knows(draft.account, counts=counts):
                still, extra = self._replica.load_seconds, self._replica.check_seconds
        known = min(self._load.prefix_tokens, self._load.prompt_tokens) if outcome.prefixes.knows(draft.session, counts=counts) else 0
        still += (self._load.prompt_tokens - known) / self._replica.prompt_tokens_a_second
        self._still_until = max(self._now, self._still_until) + still
        self._begun += 1
        heappush(self._running, (self._steps + draft.tokens, extra, self._begun, draft))
