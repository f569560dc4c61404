"""What the processes of this service do first: end with their parent, stand back for others, import large libraries in less time."""

import ctypes
import gc
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

# From linux/prctl.h. Looked up now, so that `die_with_parent` may be called between fork and exec.
_PR_SET_PDEATHSIG: Final = 1
_prctl: Final = getattr(ctypes.CDLL(None), "prctl", None)


def die_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Have Linux send this process a signal when the thread that started it ends (prctl(2)): even a `kill -9` leaves nothing running.

    Elsewhere nothing happens, and the parent has to clean up itself.
    """
    if _prctl is not None:
        _prctl(_PR_SET_PDEATHSIG, by)


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


@contextmanager
def uncollected() -> Iterator[None]:
    """Python's cyclic garbage collector rests inside.

    What an import makes stays, and the collector looks through it again and again: a quarter of the time that torch, vLLM or TRL take.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
