import asyncio
import os
import shlex
import shutil
import signal
from contextlib import suppress
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from gateway.workspace.tools.base import ToolContext, ToolFailed, ToolInput, ToolResult
from shared.processes import launching

_SECONDS: Final = 120.0
_MOST_BYTES: Final = 64 * 2**10
"""Of each of the two outputs; the rest is read and dropped."""
_KEPT: Final = frozenset({"PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TERM"})
"""Of the environment: nothing in it is a secret of the gateway's."""


class RunCommandInput(ToolInput, frozen=True, kw_only=True):
    command: Annotated[str, Meta(min_length=1, max_length=1_000)]
    args: Annotated[list[Annotated[str, Meta(max_length=1_000)]], Meta(max_length=50)] = msgspec.field(default_factory=list)


class RunCommand:
    """Runs one of the commands that the operator has allowed, word for word, without a shell."""

    name = "run_command"
    description = "Run one of the allowed commands in the project's root."
    input_type = RunCommandInput

    def __init__(self, seconds: float = _SECONDS) -> None:
        """`seconds`: how long a command may take."""
        self._seconds = seconds

    async def run(self, context: ToolContext, wanted: RunCommandInput) -> ToolResult:
        words = [*_words(wanted.command), *wanted.args]
        if words not in [_words(allowed) for allowed in context.commands]:
            allowed = ", ".join(context.commands) or "none"
            raise ToolFailed(f"{shlex.join(words)} is not among the commands that may be run: {allowed}")
        program = shutil.which(words[0]) if "/" not in words[0] else shutil.which(context.project.root / words[0])
        if program is None:
            raise ToolFailed(f"{words[0]} is not installed on the gateway's machine")
        try:
            process = await asyncio.create_subprocess_exec(
                *launching([program, *words[1:]], signal.SIGKILL),
                cwd=context.project.root,
                env={name: value for name, value in os.environ.items() if name in _KEPT},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise ToolFailed(f"{words[0]} cannot be started: {os.strerror(error.errno or 0)}") from error
        try:
            async with asyncio.timeout(self._seconds):
                stdout, stderr = await asyncio.gather(_read(process.stdout), _read(process.stderr))
                code = await process.wait()
        except TimeoutError:
            raise ToolFailed(f"{shlex.join(words)} took longer than {self._seconds:.0f} s and was stopped") from None
        finally:
            with suppress(ProcessLookupError):  # all that it has started ends with it
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
        data = {"code": code, "command": shlex.join(words), "stdout": stdout, "stderr": stderr}
        return ToolResult(data, f"{shlex.join(words)} ended with {code}", untrusted=True)


def _words(command: str) -> list[str]:
    try:
        return shlex.split(command)
    except ValueError as error:
        raise ToolFailed(f"{command} is no command: {error}") from error


async def _read(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    kept = bytearray()
    while chunk := await stream.read(65_536):
        kept += chunk[: _MOST_BYTES - len(kept)]
    return kept.decode("utf-8", "replace")
