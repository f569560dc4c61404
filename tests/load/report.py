"""What was seen: locust's own page, which is complete in itself, and the same as JSON."""

import html
import json
from argparse import Namespace
from collections import Counter
from pathlib import Path
from typing import Any

from locust.env import Environment
from locust.html import get_html_report
from locust.stats import StatsEntry, calculate_response_time_percentile, sort_stats

from tests.load.ledger import Account

HTML = Path(".benchmarks/load.html")
JSON = HTML.with_suffix(".json")
_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}
_ROOT = '<div id="root"></div>'
"""Where locust's page draws itself."""


def write(environment: Environment, arguments: Namespace, accounts: list[Account], broken: list[str]) -> None:
    HTML.parent.mkdir(exist_ok=True)
    page = get_html_report(environment, show_download_link=False)
    sentences = "".join(f"<li>{html.escape(sentence)}</li>" for sentence in broken) or "<li>Every promise was kept.</li>"
    HTML.write_text(page.replace(_ROOT, f'<ul style="font-family: sans-serif">{sentences}</ul>{_ROOT}', 1))
    JSON.write_text(json.dumps(_figures(environment, arguments, accounts, broken), indent=2))


def broken_by_requests(environment: Environment) -> list[str]:
    """A sentence for each kind of error, and for what went wrong in the load itself."""
    errors = [error.to_dict() for error in sort_stats(environment.stats.errors)]
    sentences = [f"{error['occurrences']} times {error['name']}: {error['error']}" for error in errors]
    assert environment.runner is not None
    return sentences + [f"{each['count']} times the load itself failed: {each['msg']}" for each in environment.runner.exceptions.values()]


def percentile_of_reads(environment: Environment, share: float) -> float:
    """Milliseconds, over all requests that only read; as exact as locust keeps them, two digits."""
    times: Counter[int] = Counter()
    for entry in environment.stats.entries.values():
        if entry.method == "GET" and "told to wait" not in entry.name:
            times.update(entry.response_times)
    return float(calculate_response_time_percentile(times, times.total(), share))


def table(environment: Environment) -> str:
    lines = [f"{'what':42}{'count':>8}{'errors':>8}" + "".join(f"{name:>8}" for name in _PERCENTILES) + "   (ms)"]
    lines += [
        f"{row['what']:42}{row['count']:8}{row['errors']:8}" + "".join(f"{row[name]:8.0f}" for name in _PERCENTILES)
        for row in map(_row, _entries(environment))
    ]
    return "\n".join(lines)


def _figures(environment: Environment, arguments: Namespace, accounts: list[Account], broken: list[str]) -> dict[str, Any]:
    total = environment.stats.total
    devices = [device for account in accounts for device in account.devices]
    return {
        "minutes": arguments.minutes,
        "devices": len(devices),
        "accounts": len(accounts),
        "engine": arguments.engine,
        "broken": broken,
        "requestsPerSecond": total.total_rps,
        "readsP99": percentile_of_reads(environment, 0.99),
        "requests": [_row(entry) for entry in _entries(environment)],
        "errors": [error.to_dict() for error in sort_stats(environment.stats.errors)],
        "queuedDrafts": dict(Counter(status for account in accounts for status in account.accepted.values())),
        "events": {"heard": sum(len(device.heard) for device in devices), "connections": sum(device.connections for device in devices)},
        "history": environment.stats.history,
    }


def _entries(environment: Environment) -> list[StatsEntry]:
    return [*sort_stats(environment.stats.entries), environment.stats.total]


def _row(entry: StatsEntry) -> dict[str, Any]:
    return {
        "what": f"{entry.method or ''} {entry.name}".strip(),
        "count": entry.num_requests,
        "errors": entry.num_failures,
        "perSecond": entry.total_rps,
        **{name: entry.get_response_time_percentile(share) for name, share in _PERCENTILES.items()},
    }
