"""Several replicas at the busiest hour, and how many of them it takes."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deploy.simulate.drafts import Drafts, by_account, has_adapter, in_turn, peak_drafts
from deploy.simulate.engine import Draft, Engine
from deploy.simulate.inputs import Inputs

WARM_UP_SECONDS = 300.0
"""Until the caches hold what they will."""
SHORTEST_SECONDS, LONGEST_SECONDS = 600.0, 3600.0
"""How much of the busiest hour is measured after that: all of it, where that is not too many drafts."""
MOST_DRAFTS = 125_000
"""About as many drafts are simulated at most. Of more in the shortest time a sample is taken."""
MOST_REFUSED = 0.001
"""Share of drafts that may be refused where a number of replicas is called enough."""
Route = Literal["account", "turn"]
"""How drafts come to replicas: all of an account to the same one, or each to the next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """What the busiest hour looks like with so many replicas. Ratios are shares of 1."""

    replicas: int
    simulated: int
    """Replicas that were simulated; fewer than `replicas` where a sample was taken."""
    arrived: int
    served: int
    refused: int
    left: int
    p50: float
    p95: float
    p99: float
    """Seconds from the question to the last token."""
    adapter_hits: float
    prefix_hits: float
    busy: float
    """Share of the time in which a replica had anything in its batch."""
    batch: float
    """Drafts in a batch that is not empty, in the mean."""

    def is_enough(self, p95_seconds: float) -> bool:
        return self.p95 <= p95_seconds and self.refused <= MOST_REFUSED * self.arrived


def at(inputs: Inputs, replicas: int, *, route: Route = "account", seed: int = 1) -> Point:
    """Simulate so many replicas.

    Where there are more drafts than `MOST_DRAFTS`, some of the replicas are simulated, with the drafts that come to them: replicas do not
    know of each other, and a hash spreads accounts evenly. Routed by account, each has its share of the accounts; in turn, of all drafts.
    """
    load, rate = inputs.load, inputs.load.peak_drafts_a_second
    measured = min(LONGEST_SECONDS, max(SHORTEST_SECONDS, MOST_DRAFTS / rate))
    seconds = WARM_UP_SECONDS + measured
    simulated = max(1, min(replicas, round(replicas * MOST_DRAFTS / (rate * measured))))
    if route == "account":
        drafts = peak_drafts(load, max(1, round(load.accounts * simulated / replicas)), seconds, seed)
        places = by_account(drafts.accounts, simulated)
    else:
        drafts = peak_drafts(load, load.accounts, seconds, seed)
        places = in_turn(drafts.accounts, replicas)
    adapted = has_adapter(drafts.accounts, load.adapter_share)
    outcomes = []
    for number in range(simulated):
        here = places == number
        engine = Engine(inputs.replica, load, WARM_UP_SECONDS)
        outcomes.append(engine.run(_each(drafts.only(here), adapted[here]), seconds))
    latencies = np.concatenate([outcome.latencies for outcome in outcomes])
    busy = sum(outcome.busy_seconds for outcome in outcomes)
    p50, p95, p99 = np.percentile(latencies, (50, 95, 99)) if len(latencies) else (0.0,) * 3
    return Point(
        replicas=replicas, simulated=simulated,
        arrived=sum(outcome.arrived for outcome in outcomes), served=len(latencies),
        refused=sum(outcome.refused for outcome in outcomes), left=sum(outcome.left for outcome in outcomes),
        p50=float(p50), p95=float(p95), p99=float(p99),
        adapter_hits=_ratio(sum(o.adapters.known for o in outcomes), sum(o.adapters.asked for o in outcomes)),
        prefix_hits=_ratio(sum(o.prefixes.known for o in outcomes), sum(o.prefixes.asked for o in outcomes)),
        busy=busy / measured / simulated, batch=_ratio(sum(o.draft_seconds for o in outcomes), busy),
    )  # fmt: skip


def _each(drafts: Drafts, adapted: NDArray[np.bool_]) -> Iterator[Draft]:
    columns = (drafts.seconds, drafts.accounts, drafts.sessions, drafts.tokens, adapted)
    return map(Draft, *(column.tolist() for column in columns))


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def accounts_a_replica(inputs: Inputs, seed: int = 1) -> int:
    """How many accounts one replica serves within the p95, to a fiftieth."""

    def is_enough(accounts: int) -> bool:
        point = at(replace(inputs, load=replace(inputs.load, accounts=accounts)), 1, seed=seed)
        return point.is_enough(inputs.capacity.p95_seconds)

    high = 64
    while is_enough(high):
        high *= 2
    low = high // 2
    while high - low > max(1, low // 50):
        middle = (low + high) // 2
        low, high = (middle, high) if is_enough(middle) else (low, middle)
    return low


def around_enough(inputs: Inputs, a_replica: int, seed: int = 1) -> tuple[list[Point], Point]:
    """Points by replicas, from half of what is needed to twice that; and the first that is enough.

    Args:
        inputs: the load, and what a replica can do.
        a_replica: accounts that one replica serves, from which the search begins.
    """
    replicas = ceil(inputs.load.accounts / max(1, a_replica))
    enough = at(inputs, replicas, seed=seed)
    while not enough.is_enough(inputs.capacity.p95_seconds):  # accounts fall unevenly on replicas
        replicas += max(1, replicas // 20)
        enough = at(inputs, replicas, seed=seed)
    others = {ceil(replicas * share) for share in (0.5, 0.75, 1.25, 1.5, 2)} - {replicas}
    return sorted([enough, *(at(inputs, number, seed=seed) for number in others)], key=lambda point: point.replicas), enough
