"""arq as it comes, with one job that tells when it starts: `python -m tests.benchmarks.stock_arq URL POLL_SECONDS`."""

import sys
from typing import Any

from arq import Worker
from arq.connections import ArqRedis

STARTED = "benchmark:started"


async def tell(ctx: dict[Any, Any]) -> None:
    """The job."""
    await ctx["redis"].xadd(STARTED, {"job": ctx["job_id"]})


if __name__ == "__main__":
    url, poll_seconds = sys.argv[1:]
    Worker([tell], redis_pool=ArqRedis.from_url(url), poll_delay=float(poll_seconds), max_jobs=32).run()
