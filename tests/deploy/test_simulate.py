"""The simulation beside what is known of queues, caches and hashes without it."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from math import factorial

import numpy as np
import pytest

from deploy.simulate.__main__ import parse, told
from deploy.simulate.cluster import accounts_a_replica, at
from deploy.simulate.drafts import by_account, chosen_accounts, peak_drafts
from deploy.simulate.engine import Draft, Engine, LruCache, Outcome
from deploy.simulate.inputs import CPU, GPU, Capacity, Inputs, Load, Replica
from deploy.simulate.limits import evening_backlog, limits, redis_gib, replica_hours, stored_gib

PLAIN = replace(
    GPU, step_seconds=1.0, step_seconds_a_draft=0.0, adapter_speed=1.0, step_seconds_an_adapter=0.0, load_seconds=0.0, check_seconds=0.0,
    prompt_tokens_a_second=float("inf"),
)  # fmt: skip
"""A token a second, however many answers there are: a server for each place in the batch."""


def erlang_c(servers: int, load: float) -> float:
    """The probability that somebody has to wait in an M/M/c queue with so many erlangs of load (Erlang, 1917)."""
    full = load**servers / factorial(servers) * servers / (servers - load)
    return full / (sum(load**number / factorial(number) for number in range(servers)) + full)


def draft(seconds: float, account: int = 0, tokens: float = 10, *, has_adapter: bool = False) -> Draft:
    return Draft(seconds, account, account, tokens, has_adapter)


def ran(replica: Replica, drafts: Sequence[Draft], until: float = 1e9) -> Outcome:
    return Engine(replica, Load()).run(iter(drafts), until)


@pytest.mark.parametrize(("servers", "busy"), [(1, 0.7), (4, 0.8), (16, 0.9)])
def test_without_prompts_and_adapters_it_is_an_m_m_c_queue(servers: int, busy: float) -> None:
    random = np.random.default_rng(5)
    count, rate = 60_000, servers * busy
    arrivals, tokens = np.cumsum(random.exponential(1 / rate, count)), random.exponential(1.0, count)

    outcome = ran(
        replace(PLAIN, max_num_seqs=servers, max_queued_requests=10**9),
        [draft(seconds, tokens=length) for seconds, length in zip(arrivals.tolist(), tokens.tolist(), strict=True)],
    )

    waiting = erlang_c(servers, servers * busy) / (servers - servers * busy)
    assert np.mean(outcome.latencies) == pytest.approx(waiting + 1.0, rel=0.05)


def test_answers_in_one_batch_share_its_steps() -> None:
    alone = ran(CPU, [draft(0)]).latencies[0]
    together = ran(CPU, [draft(0, account) for account in range(8)]).latencies

    reading = (Load().prompt_tokens) / CPU.prompt_tokens_a_second
    assert alone == pytest.approx(reading + 10 * (0.0207 + 0.00206))
    assert together == pytest.approx([8 * reading + 10 * (0.0207 + 8 * 0.00206)] * 8)


def test_nothing_goes_on_while_a_prompt_is_read() -> None:
    reads_for_a_second = replace(PLAIN, prompt_tokens_a_second=float(Load().prompt_tokens))

    outcome = ran(reads_for_a_second, [draft(0, 1), draft(0.5, 2)])

    assert outcome.latencies == pytest.approx([12, 11.5])  # both end at 12: two seconds of reading, ten of steps


def test_an_adapter_that_finds_no_place_in_the_batch_waits_and_is_overtaken() -> None:
    replica = replace(PLAIN, max_loras=1)

    outcome = ran(replica, [draft(0, 1, has_adapter=True), draft(1, 2, has_adapter=True), draft(2, 1, has_adapter=True), draft(3, 3)])

    assert outcome.latencies == pytest.approx([10, 10, 10, 21])  # the last is that of account 2, from 1 to 22


def test_more_than_may_wait_are_refused() -> None:
    outcome = ran(replace(PLAIN, max_num_seqs=2, max_queued_requests=3), [draft(number / 100) for number in range(10)])

    assert (outcome.arrived, len(outcome.latencies), outcome.refused, outcome.left) == (10, 5, 5, 0)


@pytest.mark.parametrize("until", [5.0, 50.0, 500.0])
def test_what_arrived_was_written_or_refused_or_is_left(until: float) -> None:
    outcome = ran(replace(PLAIN, max_num_seqs=2, max_queued_requests=10), [draft(number / 2) for number in range(100)], until)

    assert outcome.arrived == min(100, until * 2)
    assert outcome.arrived == len(outcome.latencies) + outcome.refused + outcome.left


def test_an_lru_cache_forgets_what_was_not_asked_for_longest() -> None:
    cache = LruCache(2)

    assert [cache.knows(key) for key in "abacabb"] == [False, False, True, False, True, False, True]
    assert (cache.known, cache.asked) == (3, 7)


def test_an_adapter_is_loaded_once_while_it_is_used() -> None:
    replica = replace(PLAIN, load_seconds=3.0, check_seconds=0.5, max_loaded_adapters=1)

    turns = [draft(100 * number, account, has_adapter=True) for number, account in enumerate((1, 1, 2, 1))]
    outcome = ran(replica, turns)

    assert outcome.latencies == pytest.approx([13.5, 10, 13.5, 13.5])


def test_a_further_replica_takes_its_share_of_the_accounts_and_moves_no_other() -> None:
    accounts = np.arange(20_000)
    before, after = by_account(accounts, 9), by_account(accounts, 10)

    moved = before != after
    assert set(after[moved].tolist()) == {9}
    assert moved.mean() == pytest.approx(1 / 10, abs=0.01)
    assert np.bincount(after).max() / 2_000 < 1.1


@pytest.mark.parametrize("accounts", [1_000, 1_000_000])
def test_the_busiest_account_has_thirteen_times_the_mean(accounts: int) -> None:
    chosen = chosen_accounts(accounts, 2_000_000, np.random.default_rng(1))

    busiest = np.mean(chosen < accounts // 1_000) * 1_000
    assert busiest == pytest.approx(12.4, rel=0.05)  # the mean of the busiest thousandth


def test_drafts_come_at_the_peaks_rate() -> None:
    load = Load(accounts=50_000)
    drafts = peak_drafts(load, load.accounts, 3_600, seed=1)

    assert len(drafts) / 3_600 == pytest.approx(load.peak_drafts_a_second, rel=0.02)
    assert (np.diff(drafts.seconds) >= 0).all()
    assert drafts.tokens.mean() == pytest.approx(load.draft_tokens + 0.5, rel=0.02)  # rounded up


def test_more_replicas_are_never_slower() -> None:
    inputs = Inputs(load=Load(accounts=100_000))

    p95 = [at(inputs, replicas).p95 for replicas in (1, 2, 4, 8)]

    assert all(more <= fewer * 1.02 for fewer, more in pairwise(p95)), p95


def test_the_same_seed_gives_the_same_figures() -> None:
    inputs = Inputs(load=Load(accounts=20_000))

    assert at(inputs, 2, seed=3) == at(inputs, 2, seed=3)
    assert at(inputs, 2, seed=3) != at(inputs, 2, seed=4)


def test_a_sample_of_the_replicas_is_like_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = Inputs(load=Load(accounts=200_000))
    everything = at(inputs, 8)
    monkeypatch.setattr("deploy.simulate.cluster.MOST_DRAFTS", 12_000)
    sample = at(inputs, 8)

    assert (everything.simulated, sample.simulated) == (8, 2)
    assert sample.p50 == pytest.approx(everything.p50, rel=0.1)
    assert sample.adapter_hits == pytest.approx(everything.adapter_hits, rel=0.25)


def test_routing_by_account_finds_the_adapter_that_routing_in_turn_does_not() -> None:
    inputs = Inputs(load=Load(accounts=200_000), replica=replace(GPU, max_loras=32, max_loaded_adapters=1_000))

    assert at(inputs, 8).adapter_hits > 2 * at(inputs, 8, route="turn").adapter_hits


def test_more_adapters_in_a_batch_write_more_drafts() -> None:
    few = at(Inputs(load=Load(accounts=100_000)), 1)
    many = at(Inputs(load=Load(accounts=100_000), replica=replace(GPU, max_loras=32, max_loaded_adapters=1_000)), 1)

    assert few.refused > 0.1 * few.arrived
    assert many.refused == 0


def test_one_replica_serves_the_accounts_that_the_search_found_and_not_a_tenth_more() -> None:
    inputs = Inputs(replica=CPU)
    accounts = accounts_a_replica(inputs)

    enough, more = (at(replace(inputs, load=replace(inputs.load, accounts=round(accounts * share))), 1) for share in (1, 1.1))
    assert enough.is_enough(3.0)
    assert not more.is_enough(3.0)


def test_limits_grow_with_the_accounts_and_the_first_is_first() -> None:
    small, large = (limits(Inputs(load=Load(accounts=accounts)), 50_000) for accounts in (1_000, 1_000_000))

    assert [each.up_to for each in small] == sorted(each.up_to for each in small)
    for part in ("open WebSockets", "PostgreSQL's disk", "ML replicas"):
        one, thousand = (next(each for each in found if each.part == part) for found in (small, large))
        assert thousand.needed == pytest.approx(1_000 * one.needed)
        assert thousand.up_to == pytest.approx(one.up_to)


def test_what_is_stored_is_counted_by_rows() -> None:
    capacity = Capacity(message_bytes=2**20, draft_bytes=0, sample_bytes=0, conversation_bytes=0)
    inputs = Inputs(load=Load(accounts=1024, messages_at_start=10, messages_per_day=0, years=1), capacity=capacity)

    assert stored_gib(inputs) == pytest.approx(10)


def test_jobs_stay_in_redis_for_a_day_and_events_for_an_hour() -> None:
    load = Load(accounts=86_400, messages_per_day=1, drafts_per_message=1, queued_share=0.5)
    jobs = Inputs(load=load, capacity=Capacity(redis_bytes_a_queued_draft=2**30 / 43_200, redis_bytes_a_draft=0, redis_bytes_a_sync=0))
    events = Inputs(load=load, capacity=Capacity(redis_bytes_a_queued_draft=0, redis_bytes_a_draft=2**30 / 3_600, redis_bytes_a_sync=0))

    assert redis_gib(jobs) == pytest.approx(1)
    assert redis_gib(events) == pytest.approx(load.peak)


def test_trainings_wait_in_the_evening_although_workers_are_enough_for_the_day() -> None:
    assert 2 < evening_backlog(24) < 24
    assert evening_backlog(0) == 0


def test_replicas_that_follow_the_day_are_fewer_in_its_mean() -> None:
    assert replica_hours(1) == 1
    assert replica_hours(1_000) == pytest.approx(500, rel=0.01)


def test_the_command_line_changes_what_it_names() -> None:
    inputs = told(parse(["--accelerator", "cpu", "--messages-per-day", "12.5", "--max-loras", "8", "--spare", "0.5"]))

    assert inputs == Inputs(load=Load(messages_per_day=12.5), replica=replace(CPU, max_loras=8), capacity=Capacity(spare=0.5))


@pytest.mark.parametrize("words", [["--accounts", "0"], ["--adapter-share", "-1"], ["--max-loras", "2.5"], ["--spare", "much"]])
def test_what_cannot_be_is_refused_by_name(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(words)

    assert words[0] in capsys.readouterr().err
