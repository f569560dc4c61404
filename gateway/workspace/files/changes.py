"""Changes to files, written down before they are made, with what they replace: so that each can be undone to the byte.

A change is a list of steps. Whoever makes one says first what it will do (`Plan`), has it stored, and then has it made (`make`). Undoing
looks first at every step whether the file is still as the change left it, and touches nothing if one is not.
"""

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from msgspec import Struct

from gateway.workspace.files.project import Place
from gateway.workspace.files.tree import TooLarge, Tree

MOST_BYTES: Final = 8 * 2**20
"""Of one file that is replaced or written: undo keeps a copy of it."""
MOST_BYTES_KEPT: Final = 32 * 2**20
"""Of all that one change replaces."""


class ChangeRefused(Exception):
    """A change cannot be made; nothing was touched. The message is shown to the model and to clients."""


class ChangedSince(Exception):
    """A change cannot be undone, because these files are not as it left them; nothing was touched."""

    def __init__(self, paths: Sequence[str]) -> None:
        super().__init__(f"Changed since, so nothing was undone: {', '.join(paths)}")
        self.paths = list(paths)


class Kept(Struct, frozen=True, kw_only=True):
    """A file that a change replaces or removes: its mode, its digest, and where its bytes are among the change's contents."""

    mode: int
    sha256: str
    content: int


class Written(Struct, frozen=True, kw_only=True, tag="written"):
    """A file gets this content; `before` is None where there was none."""

    path: str
    sha256: str
    before: Kept | None


class Moved(Struct, frozen=True, kw_only=True, tag="moved"):
    """A file or folder gets another name; `replaced` is the file that was there. What was moved is known again by `identity`."""

    source: str
    destination: str
    identity: str
    replaced: Kept | None


class FolderMade(Struct, frozen=True, kw_only=True, tag="folder"):
    """A folder is made."""

    path: str


Step: TypeAlias = Written | Moved | FolderMade


class Plan:
    """A change that is being put together: its steps, the contents that it replaces, and how it is made.

    Args:
        tree: where.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self.steps: list[Step] = []
        self.contents: list[bytes] = []
        self._work: list[Callable[[], None]] = []
        self._folders: set[tuple[str, ...]] = set()
        self._bytes = 0

    def make(self) -> None:
        """Do it; call it once, after the steps and the contents were stored.

        Raises:
            OSError: it could not be made to the end. What was done of it can be undone.
        """
        for work in self._work:
            work()

    def write(self, place: Place, content: bytes) -> None:
        """Give a file this content; a file that is there keeps its mode.

        Raises:
            ChangeRefused: something else is there, or the file is too large to be kept for undo.
        """
        if len(content) > MOST_BYTES:
            raise ChangeRefused(f"{place}: {len(content):,} bytes are more than the {MOST_BYTES:,} that a file may get")
        before = self._keep(place)
        self.steps.append(Written(path=str(place), sha256=digest(content), before=before))
        self._work.append(lambda: self._tree.write(place, content, before.mode if before is not None else None))

    def move(self, source: Place, destination: Place, *, overwrite: bool) -> None:
        """Give a file or a folder another name.

        Raises:
            ChangeRefused: there is nothing to move, it would move into itself, or over something that must not be replaced.
        """
        status = self._tree.status(source)
        if status is None:
            raise ChangeRefused(f"{source} is not there")
        if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
            raise ChangeRefused(f"{source} is a link or no ordinary file; only files and folders are moved")
        if destination.is_within(source):
            raise ChangeRefused(f"{source} cannot move into itself")
        present = self._tree.status(destination)
        replaced: Kept | None = None
        if present is not None:
            if not overwrite:
                raise ChangeRefused(f"{destination} is there already; say overwrite to replace it")
            if not (stat.S_ISREG(status.st_mode) and stat.S_ISREG(present.st_mode)):
                raise ChangeRefused(f"{destination} is there already, and only a file can replace a file")
            replaced = self._keep(destination)
        self.steps.append(
            Moved(source=str(source), destination=str(destination), identity=_identity(self._tree, source, status), replaced=replaced)
        )
        self._work.append(lambda: self._tree.move(source, destination))

    def moves(self, moves: Sequence[tuple[Place, Place]], *, overwrite: bool, create: bool) -> None:
        """Move several; all is looked at before anything is touched.

        Args:
            create: make folders that are missing.

        Raises:
            ChangeRefused: one of them cannot be moved, or two of them are in each other's way.
        """
        for index, (source, destination) in enumerate(moves):
            for other_source, other_destination in moves[:index]:
                if source.is_within(other_source) or other_source.is_within(source) or destination == other_destination:
                    raise ChangeRefused(f"{source} and {other_source} are in each other's way; move them one after the other")
                if destination.is_within(other_source) or other_destination.is_within(source):
                    raise ChangeRefused(f"{source} and {other_source} take each other's place; move them one after the other")
        for source, destination in moves:
            self.folder_of(destination, create=create)
            self.move(source, destination, overwrite=overwrite)

    def folder_of(self, place: Place, *, create: bool) -> None:
        """See that a place's folder is there, or will be.

        Raises:
            ChangeRefused: it is not, and is not to be made; or something else is in its way.
        """
        for length in range(1, len(place.steps)):
            steps = place.steps[:length]
            if steps in self._folders:
                continue
            folder = Place(steps)
            status = self._tree.status(folder)
            if status is not None and not stat.S_ISDIR(status.st_mode):
                raise ChangeRefused(f"{folder} is no folder")
            if status is None and not create:
                raise ChangeRefused(f"The folder {folder} is not there; say createMissingDirectories to have it made")
            if status is None:
                self.steps.append(FolderMade(path=str(folder)))
                self._work.append(lambda folder=folder: self._tree.make_folder(folder))  # type: ignore[misc]
            self._folders.add(steps)

    def _keep(self, place: Place) -> Kept | None:
        status = self._tree.status(place)
        if status is None:
            return None
        if not stat.S_ISREG(status.st_mode):
            raise ChangeRefused(f"{place} is a folder, a link or no ordinary file")
        try:
            content, mode = self._tree.read(place, min(MOST_BYTES, MOST_BYTES_KEPT - self._bytes))
        except TooLarge:
            raise ChangeRefused(f"{place} is too large to be replaced: undo keeps at most {MOST_BYTES:,} bytes of a file") from None
        self._bytes += len(content)
        self.contents.append(content)
        return Kept(mode=mode, sha256=digest(content), content=len(self.contents) - 1)


def undo(tree: Tree, steps: Sequence[Step], contents: Sequence[bytes]) -> list[str]:
    """Take a change back, also one of which only a part was made. Returns the files that are as before now.

    Raises:
        ChangedSince: nothing was touched.
    """
    undoing = _Undoing(tree, contents)
    for step in reversed(steps):
        undoing.prepare(step)
    if undoing.conflicts:
        raise ChangedSince(sorted(set(undoing.conflicts)))
    for work in undoing.work:
        work()
    return sorted(undoing.restored)


class _Undoing:
    """What is to be done to take steps back, last one first, and what stands against it.

    `_seen` is how files will be by then: the digest of a file that was put back, or None where nothing will be.
    """

    def __init__(self, tree: Tree, contents: Sequence[bytes]) -> None:
        self._tree = tree
        self._contents = contents
        self._seen: dict[str, str | None] = {}
        self.work: list[Callable[[], None]] = []
        self.conflicts: list[str] = []
        self.restored: set[str] = set()

    def prepare(self, step: Step) -> None:
        match step:
            case Written():
                self._unwrite(step)
            case Moved():
                self._move_back(step)
            case FolderMade(path=path):
                self.work.append(lambda: self._tree.remove_folder(_place(path)))

    def _unwrite(self, step: Written) -> None:
        now = self._digest(step.path)
        before = step.before.sha256 if step.before is not None else None
        if now == before:  # it was not made
            return
        if now != step.sha256:
            self.conflicts.append(step.path)
            return
        if step.before is None:
            self.work.append(lambda: self._tree.remove(_place(step.path)))
            self._noted(step.path, None)
        else:
            self._put_back(step.path, step.before)

    def _move_back(self, step: Moved) -> None:
        if self._is_moved(step.destination, step) and self._is_free(step.source):
            source, destination = _place(step.source), _place(step.destination)
            if self._tree.status(source) is None and not self._has_folder(source):
                self.conflicts.append(step.source)
                return
            self.work.append(lambda: self._tree.move(destination, source))
            self._noted(step.source, self._digest(step.destination))
            self._noted(step.destination, None)
            if step.replaced is not None:
                self._put_back(step.destination, step.replaced)
        elif not self._is_moved(step.source, step):  # else it was not made
            self.conflicts += [step.destination] if self._is_free(step.source) else [step.source]

    def _is_moved(self, path: str, step: Moved) -> bool:
        """Whether what was moved is here, as it was then."""
        if path in self._seen:
            return self._seen[path] == step.identity
        status = self._tree.status(_place(path))
        return status is not None and _identity(self._tree, _place(path), status) == step.identity

    def _is_free(self, path: str) -> bool:
        return self._seen[path] is None if path in self._seen else self._tree.status(_place(path)) is None

    def _has_folder(self, place: Place) -> bool:
        if not place.parent:
            return True
        status = self._tree.status(Place(place.parent))
        return status is not None and stat.S_ISDIR(status.st_mode)

    def _put_back(self, path: str, kept: Kept) -> None:
        self.work.append(lambda: self._tree.write(_place(path), self._contents[kept.content], kept.mode))
        self._noted(path, kept.sha256)

    def _noted(self, path: str, sha256: str | None) -> None:
        self._seen[path] = sha256
        self.restored.add(path)

    def _digest(self, path: str) -> str | None:
        """What will be there by then, as `_identity` says it; None if nothing will be."""
        if path in self._seen:
            return self._seen[path]
        status = self._tree.status(_place(path))
        return None if status is None else _identity(self._tree, _place(path), status)


def _identity(tree: Tree, place: Place, status: os.stat_result) -> str:
    """What a file or folder is known by: a file by its content or, if that is too long to read, by inode, size and time; a folder by its
    inode: it may get other things in it, which then move with it.
    """
    if stat.S_ISDIR(status.st_mode):
        return f"folder {status.st_ino}"
    if status.st_size > MOST_BYTES:
        return f"file {status.st_ino} {status.st_size} {status.st_mtime_ns}"
    try:
        return digest(tree.read(place, MOST_BYTES)[0])
    except (TooLarge, OSError):
        return "something else"


def digest(content: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(content).hexdigest()


def _place(path: str) -> Place:
    return Place(tuple(path.split("/")))
