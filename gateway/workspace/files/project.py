"""A project's folder: which one a request means, and which paths in it may be touched."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from shared.errors import BadRequest, Forbidden

MARKERS: Final = (".bbai", ".git")
"""Folders that make the folder they are in a project; nothing in them is ever read or changed."""
MOST_CHARACTERS: Final = 1_000
"""Of a path."""


class PathRefused(Exception):
    """A path that may not be touched; the message says why, and is shown to the model and to clients."""


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a project after every link in it was followed: the steps from the project's root, at least one."""

    steps: tuple[str, ...]

    def __str__(self) -> str:
        return "/".join(self.steps)

    @property
    def parent(self) -> tuple[str, ...]:
        return self.steps[:-1]

    @property
    def name(self) -> str:
        return self.steps[-1]

    def is_within(self, other: "Place") -> bool:
        """Whether this is the other place, or somewhere in it."""
        return self.steps[: len(other.steps)] == other.steps


@dataclass(frozen=True, slots=True)
class Project:
    """A project. `root` is an absolute path without links in it."""

    root: Path

    def place(self, path: str) -> Place:
        """Where a path leads. Relative paths begin at the root; the last step need not exist, and if it is a link it is not followed.

        Raises:
            PathRefused: it leads out of the project or into `.git` or `.bbai`, or it is the root itself.
        """
        if not path or len(path) > MOST_CHARACTERS:
            raise PathRefused(f"A path has 1 to {MOST_CHARACTERS} characters")
        if "\0" in path or not is_text(path):
            raise PathRefused("A path has no NUL and no halves of characters")
        if ".." in PurePosixPath(path).parts:
            raise PathRefused(f"{path}: a path has no `..`; name it from the project's root on")
        named = self.root / path
        real = _real(named.parent) / named.name
        if not real.is_relative_to(self.root):
            raise PathRefused(f"{path} is outside of the project")
        place = Place(real.relative_to(self.root).parts)
        if not place.steps:
            raise PathRefused("The project's root itself cannot be named here")
        for step in (*place.steps, *PurePosixPath(path).parts):
            if _plain(step) in MARKERS:
                raise PathRefused(f"{path}: nothing in {' or '.join(MARKERS)} may be read or changed")
        return place


def open_project(start_dir: str, roots: Sequence[Path]) -> Project:
    """The project that a folder belongs to: the nearest parent with `.bbai` or `.git`, not above its workspace root, else the folder.

    Args:
        start_dir: an absolute path.
        roots: the folders that the operator has opened (`WORKSPACE_ROOTS`).

    Raises:
        Forbidden: it is in none of them.
        BadRequest: there is no such folder.
    """
    if "\0" in start_dir or not is_text(start_dir) or not Path(start_dir).is_absolute():
        raise BadRequest.field("startDir", "must be an absolute path")
    try:
        folder = _real(Path(start_dir))
    except PathRefused as error:
        raise BadRequest.field("startDir", str(error)) from error
    within = [root for root in map(_real, roots) if folder.is_relative_to(root)]
    if not within:
        raise Forbidden("startDir is in none of the folders that are open to the workspace assistant (WORKSPACE_ROOTS)")
    if not folder.is_dir():
        raise BadRequest.field("startDir", "there is no such folder")
    top = max(within, key=lambda root: len(root.parts))
    for candidate in (folder, *folder.parents):
        if any((candidate / marker).exists() for marker in MARKERS):
            return Project(candidate)
        if candidate == top:
            break
    return Project(folder)


def _real(path: Path) -> Path:
    """A path with all links in it followed, whether or not all of it exists.

    Raises:
        PathRefused: links lead round in a circle, or the path is too long for the system.
    """
    try:
        return path.resolve()
    except (OSError, RuntimeError) as error:
        raise PathRefused("The links in this path lead nowhere") from error


def _plain(name: str) -> str:
    """A name as the most forgiving file system reads it: without case, forms of characters, invisible characters and final dots."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(each for each in folded if unicodedata.category(each) not in ("Cf", "Mn")).rstrip(". ")


def is_text(path: str) -> bool:
    """Whether a name can be written in UTF-8: a file system may have others."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
