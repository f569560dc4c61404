"""The drafts of the busiest hour: who asks when, for how much.

People ask in sessions: they open a thread and answer a few messages of it. That, and not the number of drafts alone, decides whether an
adapter or the beginning of a prompt is still in memory when the next draft comes.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deploy.simulate.inputs import Load
from shared.replicas import by_preference

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Drafts:
    """Drafts in the order in which they are asked for; each array has one value a draft."""

    seconds: Floats
    """When it is asked for."""
    accounts: Integers
    sessions: Integers
    """A session is about one thread, so its drafts' prompts begin alike."""
    tokens: Floats
    """Tokens of the answer."""

    def __len__(self) -> int:
        return len(self.seconds)

    def only(self, chosen: NDArray[np.bool_]) -> "Drafts":
        return Drafts(self.seconds[chosen], self.accounts[chosen], self.sessions[chosen], self.tokens[chosen])


def peak_drafts(load: Load, accounts: int, seconds: float, seed: int) -> Drafts:
    """What so many accounts ask for in so many seconds of the busiest hour."""
    random = np.random.default_rng(seed)
    rate = load.peak_drafts_a_second * accounts / load.accounts
    mean_length = load.drafts_a_session * load.seconds_between_drafts
    begin = -5 * mean_length  # sessions that are under way when the time begins
    sessions = random.poisson(rate / load.drafts_a_session * (seconds - begin))
    counts = random.geometric(1 / load.drafts_a_session, sessions)
    of_session = np.repeat(np.arange(sessions), counts)
    gaps = random.exponential(load.seconds_between_drafts, len(of_session))
    firsts = np.cumsum(counts) - counts
    gaps[firsts] = random.uniform(begin, seconds, sessions)
    passed = np.cumsum(gaps)
    before = np.repeat(passed[firsts] - gaps[firsts], counts)
    times = passed - before
    tokens = np.ceil(random.exponential(load.draft_tokens, len(of_session)))
    account = chosen_accounts(accounts, sessions, random)[of_session]
    order = np.argsort(times, kind="stable")
    drafts = Drafts(times[order], account[order], of_session[order], tokens[order])
    return drafts.only((drafts.seconds >= 0) & (drafts.seconds < seconds))


def chosen_accounts(accounts: int, count: int, random: np.random.Generator) -> Integers:
    """Accounts by a Zipf-Mandelbrot law: the weight of the n-th busiest is 1 / (n + accounts / 50).

    The shift keeps the busiest account at 13 times the mean, whatever the number of accounts: a person can write only so much.
    """
    weights = np.cumsum(1 / (np.arange(accounts) + 1 + accounts / 50))
    return np.searchsorted(weights, random.uniform(0, weights[-1], count)).astype(np.int64)


def by_account(accounts: Integers, replicas: int) -> Integers:
    """The replica of each account, as the workers choose it (rendezvous hashing)."""
    urls = [f"http://ml-{number}:8100" for number in range(replicas)]
    numbers = {url: number for number, url in enumerate(urls)}
    chosen = {account: numbers[by_preference(f"account-{account}", urls)[0]] for account in np.unique(accounts).tolist()}
    return np.fromiter(map(chosen.__getitem__, accounts.tolist()), np.int64, len(accounts))


def in_turn(accounts: Integers, replicas: int) -> Integers:
    """Each draft to the next replica, as a proxy sends them that does not know of accounts."""
    return np.arange(len(accounts)) % replicas


def has_adapter(accounts: Integers, share: float) -> NDArray[np.bool_]:
    """Whether each account has a personal adapter: the same ones every time, of the busy and of the quiet ones alike."""
    return (accounts * 2_654_435_761 % 2**32) < share * 2**32
