"""`python -m deploy.local`: starts everything, says what to do next, and stops everything when told to."""

import hashlib
import os
import signal
import ssl
import sys
import time
from pathlib import Path
from types import FrameType
from typing import NoReturn

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from deploy.local.https import HttpsAddresses, qr_code
from deploy.local.processes import OWNER_ONLY, StartError
from deploy.local.settings import LocalSettings
from deploy.local.stack import LocalStack, Step, exclusive
from shared.settings import SettingsError, load

_CHECK_SECONDS = 0.5


class StopRequested(BaseException):
    """Ctrl-C or SIGTERM; not an Exception, so that nothing on the way swallows it."""


def main() -> int:
    """Run until told to stop, or until a part never gets ready or dies again and again. The exit code is 0 only for the former."""
    os.umask(OWNER_ONLY)
    console = Console(highlight=False)
    begin = time.monotonic()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _request_stop)
    try:
        settings = load(LocalSettings, os.environ)
        stack = LocalStack(settings)
        with exclusive(stack.data_dir):
            try:
                _run(stack, console, begin)
            finally:
                _stop(stack, console)
    except (StartError, SettingsError) as error:
        console.print(f"[red]✗[/] {escape(str(error))}")
        return 1
    except StopRequested:
        return 0


def _request_stop(_number: int, _frame: FrameType | None) -> None:
    raise StopRequested


def _run(stack: LocalStack, console: Console, begin: float) -> NoReturn:
    for step in stack.steps():
        _perform(step, console)
    console.print(
        f"\n[bold]Ready[/] after {time.monotonic() - begin:.0f} s. Open [bold]{stack.gateway_url}/[/] in a browser"
        f" (the API: {stack.gateway_url}/docs)."
        f"{'' if stack.https else ' [bold]make demo[/] in another terminal tells the main job.'} Ctrl-C stops everything."
    )
    if stack.https is not None and stack.authority is not None:
        _tell_of_https(stack.https, stack.authority, console)
    restarts = stack.restarts(console.print)
    while True:
        restarts.check()
        time.sleep(_CHECK_SECONDS)


def _tell_of_https(addresses: HttpsAddresses, authority: Path, console: Console) -> None:
    """How a phone gets in."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(authority.read_text())).hexdigest().upper()
    console.print(
        f"\nOver HTTPS at [bold]{addresses.gateway}[/]. A phone on this network installs the certificate from [bold]{addresses.page}[/]"
        f" first (SHA-256 {':'.join(digest[place : place + 2] for place in range(0, len(digest), 2))}):\n"
    )
    console.print(qr_code(addresses.page), markup=False)
    console.print('\n[bold]make pair ARGS="--name Phone"[/] in another terminal announces a device; nobody can register by themselves.')


def _perform(step: Step, console: Console) -> None:
    """Run one step under a spinner that tells the time, then print a line that stays.

    It runs in this thread: the kernel counts a child's parent as dead when the thread that started it ends (prctl(2)).
    """
    begin = time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(step.name)
        step.run(lambda detail: progress.update(task, description=f"{step.name} ({detail})"))
    console.print(f"[green]✓[/] {step.name:<18} {time.monotonic() - begin:5.1f} s")


def _stop(stack: LocalStack, console: Console) -> None:
    """Stop in order. A second Ctrl-C ends the waiting at once; the kernel then ends the children with us."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for name in stack.stop():
        console.print(f"[dim]stopped {name}[/]")


if __name__ == "__main__":
    sys.exit(main())
