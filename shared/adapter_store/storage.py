"""Where adapters lie: `<scope>/<adapter_id>/` with the two files of an adapter and `manifest.json`, in a folder or a bucket.

What has no manifest is not there. All calls block; the ML service's `AdapterStore` makes them in threads of its own. The gateway's backups
read and write adapters through the same code.
"""

import errno
import os
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import structlog
from fsspec.core import url_to_fs

from shared.adapter_store.manifest import CONFIG, MANIFEST, MANIFEST_BYTES, WEIGHTS, Manifest
from shared.contracts.names import is_name
from shared.errors import Unavailable

UNFINISHED_SECONDS: Final = 3600.0
"""What a crash left half written is removed when it is older."""

log = structlog.get_logger(__name__)


class StoreAway(Unavailable):
    """The store cannot be reached, or its disk is full."""


class Storage(ABC):
    """Adapters by scope and id, reached through fsspec. Every method may raise `StoreAway`; names have passed `is_name`."""

    def __init__(self, url: str) -> None:
        """`url` is fsspec's: a path, or such as `s3://bucket/adapters`; credentials and endpoint come from the environment."""
        self._fs: Any
        self._fs, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        self._root = str(root).rstrip("/")

    @abstractmethod
    def put(self, scope: str, adapter_id: str, files: Mapping[str, bytes], manifest: bytes) -> bool:
        """Store an adapter, all of it or nothing; False if there is one with this id."""

    @abstractmethod
    def folder(self, stored: Manifest) -> Path:
        """A local folder with the files of an adapter, as they are in the store.

        Raises:
            FileNotFoundError: they are gone.
        """

    @abstractmethod
    def drop_copy(self, stored: Manifest) -> None:
        """Remove this machine's copy, if it is one, so that `folder` fetches it anew."""

    @abstractmethod
    def prune(self) -> None:
        """Remove what is here and no longer in the store, and what a crash left half written."""

    def manifest(self, scope: str, adapter_id: str) -> bytes | None:
        """An adapter's manifest; None if there is no such adapter."""
        with _store_errors(), suppress(FileNotFoundError):
            return bytes(self._fs.cat_file(self._path(scope, adapter_id, MANIFEST), start=0, end=MANIFEST_BYTES))
        return None

    def scopes(self) -> list[str]:
        """Scopes that have or had adapters, in no order."""
        return self._names(self._root)

    def adapter_ids(self, scope: str) -> list[str]:
        """Ids of a scope, in no order; some may be without a manifest."""
        return self._names(self._path(scope))

    def withdraw(self, scope: str, adapter_id: str) -> None:
        """Take an adapter's manifest away, so that nobody finds it; the files stay for those who use them."""
        with _store_errors(), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(scope, adapter_id, MANIFEST))

    def remove(self, scope: str, adapter_id: str | None) -> None:
        """Remove what there is of an adapter, or of all of a scope, here and in the store."""
        with _store_errors(), suppress(FileNotFoundError):
            self._fs.rm(self._path(scope, adapter_id) if adapter_id is not None else self._path(scope), recursive=True)

    def _names(self, path: str) -> list[str]:
        with _store_errors(), suppress(FileNotFoundError):
            names = (str(each).rstrip("/").rpartition("/")[2] for each in self._fs.ls(path, detail=False))
            return [name for name in names if is_name(name)]
        return []

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))


class FolderStorage(Storage):
    """A folder of this machine, or one that all machines mount. An adapter appears by one rename, and outlives a power cut."""

    def __init__(self, root: Path) -> None:
        super().__init__(str(root))

    def put(self, scope: str, adapter_id: str, files: Mapping[str, bytes], manifest: bytes) -> bool:
        target = Path(self._path(scope, adapter_id))
        with _store_errors():
            if (target / MANIFEST).exists():
                return False
            with _unfinished(target) as folder:
                for name, data in files.items():
                    _write(folder / name, data)
                _write(folder / MANIFEST, manifest)
                _sync_folder(folder)
                if not (target / MANIFEST).exists():  # it may be there without: an adapter that was deleted, but not to the end
                    shutil.rmtree(target, ignore_errors=True)
                if not _rename(folder, target):  # someone else was faster
                    return False
            _sync_folder(target.parent)
            return True

    def folder(self, stored: Manifest) -> Path:
        return Path(self._path(stored.scope, stored.adapter_id))

    def drop_copy(self, stored: Manifest) -> None:
        """There are no copies."""

    def prune(self) -> None:
        with _store_errors():
            _remove_unfinished(Path(self._root))


class BucketStorage(Storage):
    """Objects of any store that fsspec speaks to, and a folder of this machine into which each adapter is fetched once.

    Objects are not written in one step, so the manifest comes last and goes first.
    """

    def __init__(self, url: str, copies: Path) -> None:
        super().__init__(url)
        self._copies = copies

    def put(self, scope: str, adapter_id: str, files: Mapping[str, bytes], manifest: bytes) -> bool:
        with _store_errors():
            if self._fs.exists(self._path(scope, adapter_id, MANIFEST)):
                return False
            self._fs.makedirs(self._path(scope, adapter_id), exist_ok=True)
            for name, data in files.items():
                self._fs.pipe_file(self._path(scope, adapter_id, name), data)
            self._fs.pipe_file(self._path(scope, adapter_id, MANIFEST), manifest)
            return True

    def folder(self, stored: Manifest) -> Path:
        target = self._copy(stored)
        if target.is_dir():
            return target
        with _store_errors(), _unfinished(target) as folder:
            for name in (CONFIG, WEIGHTS):
                self._fs.get_file(self._path(stored.scope, stored.adapter_id, name), str(folder / name))
            _rename(folder, target)  # or it was fetched by someone else meanwhile: the same bytes
        return target

    def drop_copy(self, stored: Manifest) -> None:
        _remove_tree(self._copy(stored))

    def remove(self, scope: str, adapter_id: str | None) -> None:
        super().remove(scope, adapter_id)
        copies = self._copies / scope
        for copy in copies.glob(f"{adapter_id}.*") if adapter_id is not None else [copies]:
            _remove_tree(copy)

    def prune(self) -> None:
        for copy in self._copies.glob("*/*.*"):
            scope, adapter_id = copy.parent.name, copy.name.partition(".")[0]
            if is_name(scope) and is_name(adapter_id) and self.manifest(scope, adapter_id) is None:
                _remove_tree(copy)
        _remove_unfinished(self._copies)
        for folder in self._copies.glob("*"):
            with suppress(OSError):
                folder.rmdir()  # only if nothing is left in it

    def _copy(self, stored: Manifest) -> Path:
        """The digest is in the name: a folder never changes what it holds."""
        return self._copies / stored.scope / f"{stored.adapter_id}.{stored.digest}"


def open_storage(location: str, data_dir: Path, copies: Path) -> Storage:
    """The storage that the setting ADAPTER_STORE names; without one a folder in `data_dir`.

    Args:
        copies: the folder of this machine into which a bucket's adapters are fetched.
    """
    location = location.removeprefix("file://")
    if "://" in location:
        return BucketStorage(location, copies)
    return FolderStorage(Path(location).resolve() if location else data_dir / "adapters")


@contextmanager
def _unfinished(target: Path) -> Iterator[Path]:
    """A new folder beside another, under a name that no adapter can have; it is gone afterwards, unless it was renamed."""
    folder = target.with_name(f".{target.name}.{uuid4().hex}")
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rename(folder: Path, target: Path) -> bool:
    """Give a folder its name in one step; False if there is one with this name."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
            raise
        return False
    return True


def _remove_tree(folder: Path) -> None:
    """Out of sight at once, then gone."""
    hidden = folder.with_name(f".{folder.name}.{uuid4().hex}")
    with suppress(OSError):
        folder.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _remove_unfinished(root: Path) -> None:
    for folder in root.glob("*/.*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > UNFINISHED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    with path.open("xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder last over a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _store_errors() -> Iterator[None]:
    """Each kind of bucket has errors of its own; only "not found" has the same everywhere."""
    try:
        yield
    except (FileNotFoundError, StoreAway):
        raise
    except Exception as error:
        log.error("the adapter store cannot be used", kind=type(error).__name__, errno=getattr(error, "errno", None))
        raise StoreAway("The adapter store does not answer, or its disk cannot be used", retry_after=10) from error
