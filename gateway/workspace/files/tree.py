"""The files below a project's root.

Every step of a path is taken from the descriptor of the folder before, and no step follows a link: a link that somebody puts in the place
of a folder after its path was checked leads to an error and not out of the project.
"""

import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from gateway.workspace.files.project import Place, is_text

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK: Final = 2**20
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TooLarge(Exception):
    """A file has more bytes than whoever reads it takes."""


class Tree:
    """Reads and changes files; use it as a context. Every method may raise `OSError`, with `ELOOP` or `ENOTDIR` where a link is met."""

    def __init__(self, root: Path) -> None:
        self._root = os.open(root, _FOLDER)

    def __enter__(self) -> "Tree":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._root)

    def status(self, place: Place) -> os.stat_result | None:
        """What is there, a link as itself; None if nothing is."""
        try:
            with self._folder(place.parent) as folder:
                return os.stat(place.name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def read(self, place: Place, most: int) -> tuple[bytes, int]:
        """A file's bytes and mode.

        Raises:
            TooLarge: it has more than `most` bytes.
            IsADirectoryError, OSError: it is no ordinary file.
        """
        with self._folder(place.parent) as folder:
            return _read(place, folder, most)

    def write(self, place: Place, content: bytes, mode: int | None) -> None:
        """Put a file in place whole, in one step. `mode`: its permissions; None: as new files get them."""
        temporary = f".{secrets.token_hex(8)}.new"
        with self._folder(place.parent) as folder:
            descriptor = os.open(temporary, _CREATE, 0o666, dir_fd=folder)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    if mode is not None:
                        os.fchmod(file.fileno(), mode)
                os.rename(temporary, place.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(FileNotFoundError):
                    os.unlink(temporary, dir_fd=folder)
                raise

    def move(self, source: Place, destination: Place) -> None:
        """Rename; what is at the destination, if it is a file and so is the source, is replaced."""
        with self._folder(source.parent) as before, self._folder(destination.parent) as after:
            os.rename(source.name, destination.name, src_dir_fd=before, dst_dir_fd=after)

    def remove(self, place: Place) -> None:
        """Remove a file."""
        with self._folder(place.parent) as folder:
            os.unlink(place.name, dir_fd=folder)

    def make_folder(self, place: Place) -> None:
        """Make a folder, whose parent is there."""
        with self._folder(place.parent) as folder:
            os.mkdir(place.name, dir_fd=folder)

    def remove_folder(self, place: Place) -> None:
        """Remove a folder, if it is there and empty."""
        with suppress(OSError), self._folder(place.parent) as folder:
            os.rmdir(place.name, dir_fd=folder)

    def files(self, skipped: Sequence[str]) -> "Iterator[FoundFile]":
        """All ordinary files, folder by folder in the order of names; no links are followed, and folders of the skipped names left out."""
        pending: list[tuple[str, ...]] = [()]
        while pending:
            steps = pending.pop()
            try:
                with self._folder(steps) as folder:
                    with os.scandir(folder) as entries:
                        found = sorted((each for each in entries if is_text(each.name)), key=lambda entry: entry.name)
                        folders = [each.name for each in found if each.is_dir(follow_symlinks=False) and each.name not in skipped]
                    pending += [(*steps, name) for name in reversed(folders)]
                    for entry in found:
                        if entry.is_file(follow_symlinks=False):
                            yield FoundFile(Place((*steps, entry.name)), folder)
            except OSError:  # it was removed meanwhile, or is not ours to read
                continue

    @contextmanager
    def _folder(self, steps: Sequence[str]) -> Iterator[int]:
        descriptor = os.dup(self._root)
        try:
            for step in steps:
                following = os.open(step, _FOLDER, dir_fd=descriptor)
                os.close(descriptor)
                descriptor = following
            yield descriptor
        finally:
            os.close(descriptor)


class FoundFile:
    """An ordinary file that was found in a walk; to be looked at before the walk goes on."""

    def __init__(self, place: Place, folder: int) -> None:
        self.place = place
        self._folder = folder

    def status(self) -> os.stat_result:
        return os.stat(self.place.name, dir_fd=self._folder, follow_symlinks=False)

    def read(self, most: int) -> bytes:
        """Its bytes.

        Raises:
            TooLarge: there are more than `most`.
        """
        return _read(self.place, self._folder, most)[0]


def _read(place: Place, folder: int, most: int) -> tuple[bytes, int]:
    descriptor = os.open(place.name, _READ, dir_fd=folder)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise IsADirectoryError(f"{place} is no ordinary file")
        if status.st_size > most:
            raise TooLarge(f"{place} has more than {most:,} bytes")
        parts: list[bytes] = []
        left = most + 1
        while left > 0 and (part := os.read(descriptor, min(left, _CHUNK))):
            parts.append(part)
            left -= len(part)
        if left <= 0:
            raise TooLarge(f"{place} has more than {most:,} bytes")
        return b"".join(parts), stat.S_IMODE(status.st_mode)
    finally:
        os.close(descriptor)
