"""A day of six seconds, with everything that belongs to it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.fixtures.waiting import START_SECONDS

ROOT = Path(__file__).parents[2]
SECONDS = 6


def test_a_day_keeps_its_promises_but_for_a_limit_that_nobody_can_keep(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.load", str(SECONDS / 60), "--devices", "4", "--read-p99", "0.001"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=4 * START_SECONDS)

    assert run.returncode == 1, run.stdout + run.stderr
    (broken,) = re.findall("^✗ (.*)$", run.stdout, re.MULTILINE)
    assert broken.startswith("99 of 100 reads")
    figures = json.loads((tmp_path / ".benchmarks" / "load.json").read_text())
    assert figures["broken"] == [broken]
    assert (figures["devices"], figures["accounts"]) == (4, 2)
    assert sum(request["count"] for request in figures["requests"]) > 0
    page = (tmp_path / ".benchmarks" / "load.html").read_text()
    assert broken in page
    assert re.findall(r'(?:src|href)="https?://', page) == []
