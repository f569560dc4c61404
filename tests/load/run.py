"""The load itself, in a process of its own. Importing locust changes how the standard library waits: it comes first."""

from locust.env import Environment  # isort: skip

import sys
import time
from argparse import Namespace
from collections import deque
from collections.abc import Callable
from contextlib import suppress

import gevent
import httpx
from locust.stats import stats_history

from tests.load.arguments import parse
from tests.load.day import Day
from tests.load.device import Device
from tests.load.ledger import ENDED, Account, broken_promises
from tests.load.pairing import PairingRefused, authorization, cleared, pair_devices, unmeasured
from tests.load.report import HTML, JSON, broken_by_requests, percentile_of_reads, table, write

_LINE_SECONDS = 5
_STOP_SECONDS = 300
"""What a device does when the day is over may take so long to end."""
_PATIENCE_SECONDS = 120
"""So long may pass without a further queued draft ending before the rest counts as lost."""
_EVENT_SECONDS = 20
"""What is known to have happened reaches every device within so long."""


def main() -> int:
    arguments = parse()
    accounts: list[Account] = []
    try:
        pair_devices(arguments.url, arguments.devices, arguments.token_of, accounts)
        environment = _live(arguments, accounts)
    except PairingRefused as refusal:
        print(refusal, file=sys.stderr)
        return 2
    except httpx.TransportError as error:
        print(f"{arguments.url} does not answer ({type(error).__name__}): start the gateway, or correct --url", file=sys.stderr)
        return 2
    finally:
        with suppress(httpx.TransportError):  # then there is nobody who could
            for problem in cleared(arguments.url, accounts, joined=arguments.token_of is not None):
                print(problem, file=sys.stderr)
    reads = percentile_of_reads(environment, 0.99)
    broken = [*broken_by_requests(environment), *broken_promises(accounts)]
    if arguments.read_p99 and reads > arguments.read_p99:
        broken.append(f"99 of 100 reads were answered within {reads:.0f} ms, and not within {arguments.read_p99:.0f} ms")
    write(environment, arguments, accounts, broken)
    print(table(environment))
    print(f"99 of 100 reads within {reads:.0f} ms; the report is {HTML}, its figures are in {JSON}")
    for sentence in broken:
        print(f"✗ {sentence}")
    print("failed" if broken else "✓ every promise was kept")
    return 1 if broken else 0


def _live(arguments: Namespace, accounts: list[Account]) -> Environment:
    """Go through the day, and wait until everything that it began has ended."""
    seconds = arguments.minutes * 60
    Device.unused = deque((account, device) for account in accounts for device in account.devices)
    Device.day_seconds = seconds
    Device.day = day = Day(seconds)
    environment = Environment(user_classes=[Device], host=arguments.url, stop_timeout=_STOP_SECONDS)
    runner = environment.create_local_runner()
    gevent.spawn(stats_history, runner)
    runner.start(arguments.devices, spawn_rate=arguments.devices)
    while day.left > 0:
        gevent.sleep(min(_LINE_SECONDS, day.left))
        _show(day, environment, accounts)
    for listener in Device.listeners:
        listener.stay()
    runner.stop()
    print("the day is over; waiting for what was queued, and for every event of it", flush=True)
    _settle(arguments.url, accounts)
    for listener in Device.listeners:
        listener.end()
    return environment


def _show(day: Day, environment: Environment, accounts: list[Account]) -> None:
    total = environment.stats.total
    p95 = total.get_current_response_time_percentile(0.95) or 0
    told = sum(entry.num_requests for entry in environment.stats.entries.values() if "told to wait" in entry.name)
    queued = sum(account.untold for account in accounts)
    print(
        f"{day.passed:5.0f} s  {day.clock}  {total.current_rps:6.1f} requests/s  p95 {p95:5.0f} ms  {total.num_failures} errors"
        f"  {told} told to wait  {queued} drafts in the queue",
        flush=True,
    )


def _settle(url: str, accounts: list[Account]) -> None:
    """Wait for the drafts as long as there is progress, and then a moment for the events of it."""
    with unmeasured(url) as client:

        def ended() -> bool:
            for account in accounts:
                for draft in account.open_drafts:
                    with suppress(httpx.TransportError):
                        answer = client.get(f"/api/responses/{draft}", headers=authorization(account.devices[0]))
                        if answer.status_code == 200:
                            account.accepted[draft] = answer.json()["status"]
            return not any(account.open_drafts for account in accounts)

        _wait(ended, lambda: sum(status in ENDED for account in accounts for status in account.accepted.values()), _PATIENCE_SECONDS)

    def heard() -> bool:
        return not any(account.missed or account.untold for account in accounts)

    _wait(heard, lambda: sum(len(device.heard) for account in accounts for device in account.devices), _EVENT_SECONDS)


def _wait(done: Callable[[], bool], progress: Callable[[], int], patience: float) -> None:
    """Until it is done, or nothing has changed for so many seconds."""
    seen, since = -1, time.monotonic()
    while not done():
        if (now := progress()) != seen:
            seen, since = now, time.monotonic()
        elif time.monotonic() - since > patience:
            return
        gevent.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
