"""Rate, errors and durations of requests, the same in both services."""

from typing import Final

from prometheus_client import CollectorRegistry, Histogram

_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
"""A client may send any word as its method; only these become labels."""


def request_durations(service: str, registry: CollectorRegistry) -> Histogram:
    """The histogram `<service>_request_duration_seconds`, by method, route template and status."""
    return Histogram(
        f"{service}_request_duration_seconds",
        "How long requests took until their answer was sent; its count is the number of requests",
        ["method", "route", "status"],
        buckets=_BUCKETS,
        registry=registry,
    )


def observe_request(durations: Histogram, method: str, route: str | None, status: int, seconds: float) -> None:
    """Note one request that is over; its `status` is 0 if nothing was answered.

    `route` is the template, never the path: that carries ids, and each would be a time series of its own. None: no handler was found.
    """
    durations.labels(method if method in _METHODS else "other", route or "none", str(status)).observe(seconds)
