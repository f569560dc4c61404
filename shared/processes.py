"""How the project's processes start each other: a child ends with its parent, and may stand back for everybody else.

Run as a program, this file becomes another command (`launching` says how). A `preexec_fn` would run Python between fork and exec of a
process that has threads, where any lock may be held for ever by a thread that no longer exists.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Have Linux send this process a signal when the thread that started it ends (prctl(2)): even a `kill -9` leaves nothing running.

    It holds across an exec. On other systems nothing happens, and the parent has to clean up itself.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, by)


def stand_back() -> None:
    """Have this process, and what it starts, get only the processor time that nobody else wants; it cannot be taken back.

    A kernel with autogroups (most desktops') shares the processor between sessions first, and only inside of one by priority: a process
    in a session of its own would have its full share whatever its priority (sched(7)).
    """
    os.nice(19)
    with suppress(OSError, AttributeError):  # AttributeError: not Linux
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text("19")


def launching(command: Sequence[str], at_parents_death: signal.Signals, *, standing_back: bool = False) -> list[str]:
    """A command line that becomes `command`, told by this signal when the thread that starts it ends. One that stands back gets only the
    processor time that nobody else wants.
    """
    priority = "idle" if standing_back else "normal"
    return [sys.executable, "-I", "-S", __file__, str(at_parents_death.value), str(os.getpid()), priority, *command]


def _launch(at_parents_death: str, parent: str, priority: str, *command: str) -> None:
    die_with_parent(signal.Signals(int(at_parents_death)))
    if os.getppid() != int(parent):  # it died before the kernel was asked
        sys.exit(1)
    if priority == "idle":
        stand_back()
    os.execvp(command[0], command)  # noqa: S606 (the command is the caller's)


if __name__ == "__main__":
    _launch(*sys.argv[1:])
