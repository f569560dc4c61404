"""What the gateway holds in memory when nobody asks anything of it."""

import time

import psutil

from tests.benchmarks.measure import Goal, Measurement
from tests.benchmarks.system import BenchmarkSystem


def measure(system: BenchmarkSystem) -> list[Measurement]:
    """Resident memory of the gateway's process, in MB of 10^6 bytes; shared pages counted."""
    time.sleep(2)  # whatever the start left to do is done
    resident = psutil.Process(system.gateway.process.pid).memory_info().rss / 1e6
    return [Measurement(what="idle memory of the gateway", unit="MB", ours=[resident], goal=Goal(rule="at most", value=120))]
