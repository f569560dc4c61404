"""The one file of a backup: a tar archive that is written and read piece by piece, and never is in memory.

Its members, in order: `adapters/<scope>/<adapter_id>/<file>`, pg_dump's custom format in pieces (`database/000001`, …; put together they
are the dump), `manifest.json`, and `manifest.sha256`. A file that ends before the last of them is no backup.
"""

import fcntl
import hashlib
import os
import shutil
import stat
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import IO, Final

from gateway.backup.errors import BackupError
from gateway.backup.progress import Progress
from shared.adapter_store.manifest import StoredFile

PIECE_BYTES: Final = 8 * 2**20
"""Tar wants to know a member's size before its content, and nobody knows a dump's size before it has ended."""
BUFFER_BYTES: Final = 2**20
MANIFEST: Final = "manifest.json"
MANIFEST_DIGEST: Final = "manifest.sha256"
ADAPTERS: Final = "adapters"
_DATABASE: Final = "database"
_STANDARD: Final = "-"
DAMAGED: Final = "The backup is damaged or cut off: take another one"


class ArchiveWriter:
    """Writes members one after the other."""

    def __init__(self, stream: IO[bytes], written_at: datetime) -> None:
        self._stream = stream
        self._written_at = written_at

    def add(self, name: str, content: IO[bytes], size: int, progress: Progress | None = None) -> StoredFile:
        """Write a member of so many bytes; what it is then.

        Raises:
            BackupError: there were not so many.
        """
        self._header(name, size)
        digest, left = hashlib.sha256(), size
        while left:
            data = content.read(min(left, BUFFER_BYTES))
            if not data:
                raise BackupError(f"{name} became shorter while it was read: run the backup again")
            self._write(data)
            digest.update(data)
            left -= len(data)
            if progress is not None:
                progress.add(len(data))
        self._pad(size)
        return StoredFile(size=size, sha256=digest.hexdigest())

    def add_bytes(self, name: str, data: bytes) -> None:
        """Write a small member."""
        self._header(name, len(data))
        self._write(data)
        self._pad(len(data))

    def add_database(self, dump: IO[bytes], progress: Progress) -> StoredFile:
        """Write a dump as it comes; what it was."""
        digest, size, number = hashlib.sha256(), 0, 0
        while piece := dump.read(PIECE_BYTES):
            number += 1
            self.add_bytes(f"{_DATABASE}/{number:06d}", piece)
            digest.update(piece)
            size += len(piece)
            progress.add(len(piece))
        return StoredFile(size=size, sha256=digest.hexdigest())

    def end(self) -> None:
        """Write what ends an archive."""
        self._write(bytes(2 * tarfile.BLOCKSIZE))

    def _header(self, name: str, size: int) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode, member.mtime = size, 0o600, int(self._written_at.timestamp())
        self._write(member.tobuf(tarfile.USTAR_FORMAT))

    def _pad(self, size: int) -> None:
        self._write(bytes(-size % tarfile.BLOCKSIZE))

    def _write(self, data: bytes) -> None:
        with _writing("The backup"):
            self._stream.write(data)


class Archive:
    """Reads a backup, as often as it takes. Names in it are compared, never used as paths."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.size = os.fstat(file.fileno()).st_size

    def members(self) -> Iterator[tuple[str, int, IO[bytes]]]:
        """Each member's name, size and content, in order.

        Raises:
            BackupError: it is no tar archive, is cut off, or has something that no backup has.
        """
        self._file.seek(0)
        with _damage(), tarfile.open(fileobj=self._file, mode="r:") as archive:
            for member in archive:
                content = archive.extractfile(member) if member.type == tarfile.REGTYPE else None
                if content is None:
                    raise BackupError(DAMAGED)
                yield member.name, member.size, content

    def pieces(self, wanted: Callable[[str], bool], progress: Progress) -> Iterator[tuple[str, bytes]]:
        """The content of the wanted members, piece by piece, with their names.

        Raises:
            BackupError: as `members`.
        """
        for name, size, content in self.members():
            left = size if wanted(name) else 0
            while left:
                with _damage():
                    data = content.read(min(left, BUFFER_BYTES))
                if not data:
                    raise BackupError(DAMAGED)
                left -= len(data)
                progress.add(len(data))
                yield name, data


def is_database(name: str) -> bool:
    """Whether a member is a piece of the dump."""
    return name.startswith(f"{_DATABASE}/")


@contextmanager
def opened_for_writing(target: str) -> Iterator[IO[bytes]]:
    """A stream to a new file that only its owner can read, or to standard output. The file has its name when it is whole and on the disk.

    Until then it is called `<name>.unfinished`, and goes when anything fails; what a `kill -9` leaves, the next backup writes over.

    Raises:
        BackupError: it cannot be written.
    """
    if target == _STANDARD:
        if sys.stdout.isatty():
            raise BackupError("A backup is no text for a terminal: name a file, or pass standard output on to another command")
        with _writing("Standard output"), open(sys.stdout.fileno(), "wb", closefd=False) as stream:
            yield stream
        return
    path = Path(target)
    if path.exists() and not path.is_file():
        raise BackupError(f"{path} is not a file: name one, or `-` for standard output")
    unfinished = path.with_name(f"{path.name}.unfinished")
    with _writing(str(path)), _own_file(unfinished) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            unfinished.rename(path)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
        _sync_folder(path.parent)


@contextmanager
def opened_for_reading(source: str) -> Iterator[Archive]:
    """A backup, of a file or of standard input, which is first written to a file of ours without a name: it is read twice.

    Raises:
        BackupError: it cannot be read.
    """
    if source == _STANDARD:
        with tempfile.TemporaryFile() as spool:
            try:
                shutil.copyfileobj(sys.stdin.buffer, spool, BUFFER_BYTES)
                spool.flush()
            except OSError as error:
                raise BackupError(
                    f"Standard input could not be kept in {tempfile.gettempdir()} ({error.strerror}): make room there, or set TMPDIR"
                ) from error
            yield Archive(spool)
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 (the errors of what is done with it are others)
    except OSError as error:
        raise BackupError(f"{source} cannot be read ({error.strerror})") from error
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise BackupError(f"{source} is not a file: pass its content to standard input, and name `-`")
        yield Archive(file)


@contextmanager
def _own_file(path: Path) -> Iterator[IO[bytes]]:
    """A new file for its owner only, which nobody else writes at the same time."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BackupError(f"Another backup writes {path}: wait for it, or name another file") from None
        if not path.exists() or path.stat().st_ino != os.fstat(descriptor).st_ino:
            raise BackupError(f"Another backup wrote {path} at this moment: run it again")
        os.fchmod(descriptor, 0o600)
        os.ftruncate(descriptor, 0)
        yield file


@contextmanager
def _writing(target: str) -> Iterator[None]:
    """A disk that is full or a reader that went away, in a sentence."""
    try:
        yield
    except OSError as error:
        raise BackupError(f"{target} could not be written ({error.strerror}): there is no backup") from error


@contextmanager
def _damage() -> Iterator[None]:
    """What Python says of a bad archive, in a sentence."""
    try:
        yield
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise BackupError(DAMAGED) from error
    except OSError as error:
        raise BackupError(f"The backup cannot be read ({error.strerror})") from error


def _sync_folder(folder: Path) -> None:
    """Make the file's name last over a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
