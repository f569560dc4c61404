import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from deploy.local.processes import ChildProcess, StartError
from tests.fixtures.processes import gone
from tests.fixtures.waiting import PATIENCE_SECONDS, eventually


def test_a_child_that_ends_early_says_why(tmp_path: Path) -> None:
    child = ChildProcess("Example", [sys.executable, "-c", "raise SystemExit('no such model')"], log_path=tmp_path / "log")
    child.start()

    with pytest.raises(StartError, match="Example ended with code 1: no such model"):
        child.wait_until(lambda: False, timeout=PATIENCE_SECONDS)


def test_a_child_that_ignores_the_request_is_killed_with_its_children(tmp_path: Path) -> None:
    stubborn = (
        "import signal, subprocess, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print(subprocess.Popen(['sleep', '60']).pid, flush=True); time.sleep(60)"
    )
    child = ChildProcess("Example", [sys.executable, "-c", stubborn], log_path=tmp_path / "log")
    child.start()
    child.wait_until(lambda: (tmp_path / "log").read_text().strip().isdigit(), timeout=PATIENCE_SECONDS)
    grandchild = int((tmp_path / "log").read_text())

    child.stop(timeout=0.5)

    assert child.exit_code == -signal.SIGKILL
    wait_for_end(grandchild)


def test_children_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    parent_code = f"""
import sys, time
from pathlib import Path
from deploy.local.processes import ChildProcess
child = ChildProcess("Example", ["sleep", "60"], log_path=Path({str(tmp_path / "log")!r}))
child.start()
print(child.pid, flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", parent_code], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)

    wait_for_end(child)


def wait_for_end(pid: int) -> None:
    with suppress(psutil.NoSuchProcess):  # it has ended already
        process = psutil.Process(pid)
        eventually(lambda: gone(process))
