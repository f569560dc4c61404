"""Where adapters lie: `<scope>/<adapter_id>/` with the two files of an adapter and `manifest.json`, in a folder or a bucket.

What has no manifest is not there. All calls block; `store.AdapterStore` makes them in threads of its own.
"""

import errno
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Protocol
from uuid import uuid4

import structlog
from fsspec.core import url_to_fs

from ml_service.adapters.manifest import CONFIG, MANIFEST, MANIFEST_BYTES, WEIGHTS, StoredAdapter
from shared.contracts.names import is_name
from shared.errors import Unavailable

UNFINISHED_SECONDS: Final = 3600.0
"""What a crash left half written is removed when it is older."""

log = structlog.get_logger(__name__)


class StoreAway(Unavailable):
    """The store cannot be reached, or its disk is full."""


class Storage(Protocol):
    """Adapters by scope and id. Every method may raise `StoreAway`; names have passed `is_name`."""

    def put(self, scope: str, adapter_id: str, files: Mapping[str, Path], manifest: bytes) -> bool:
        """Store an adapter, all of it or nothing; False if there is one with this id."""

    def manifest(self, scope: str, adapter_id: str) -> bytes | None:
        """An adapter's manifest; None if there is no such adapter."""

    def adapter_ids(self, scope: str) -> list[str]:
        """Ids of a scope, in no order; some may be without a manifest."""

    def folder(self, stored: StoredAdapter) -> Path:
        """A local folder with the files of an adapter, as they are in the store.

        Raises:
            FileNotFoundError: they are gone.
        """

    def drop_copy(self, stored: StoredAdapter) -> None:
        """Remove this machine's copy, if it is one, so that `folder` fetches it anew."""

    def withdraw(self, scope: str, adapter_id: str) -> None:
        """Take an adapter's manifest away, so that nobody finds it; the files stay for those who use them."""

    def remove(self, scope: str, adapter_id: str) -> None:
        """Remove what there is of an adapter, here and in the store."""

    def remove_scope(self, scope: str) -> None:
        """Remove everything of a scope, here and in the store."""

    def prune(self) -> None:
        """Remove what is here and no longer in the store, and what a crash left half written."""


class FolderStorage:
    """A folder of this machine, or one that all machines mount."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put(self, scope: str, adapter_id: str, files: Mapping[str, Path], manifest: bytes) -> bool:
        target = self._root / scope / adapter_id
        with _disk_errors():
            if (target / MANIFEST).exists():
                return False
            unfinished = _temporary(target)
            unfinished.mkdir(parents=True)
            try:
                for name, path in files.items():
                    _write(unfinished / name, path.read_bytes())
                _write(unfinished / MANIFEST, manifest)
                _sync_folder(unfinished)
                if target.exists() and not (target / MANIFEST).exists():  # an adapter that was deleted, but not to the end
                    _remove_tree(target)
                if not _rename(unfinished, target):  # someone else was faster
                    return False
                _sync_folder(target.parent)
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
            return True

    def manifest(self, scope: str, adapter_id: str) -> bytes | None:
        path = self._root / scope / adapter_id / MANIFEST
        with _disk_errors(), suppress(FileNotFoundError), path.open("rb") as stream:
            return stream.read(MANIFEST_BYTES)
        return None

    def adapter_ids(self, scope: str) -> list[str]:
        with _disk_errors():
            return _names(self._root / scope)

    def folder(self, stored: StoredAdapter) -> Path:
        return self._root / stored.manifest.scope / stored.manifest.adapter_id

    def drop_copy(self, stored: StoredAdapter) -> None:
        """There are no copies."""

    def withdraw(self, scope: str, adapter_id: str) -> None:
        with _disk_errors():
            (self._root / scope / adapter_id / MANIFEST).unlink(missing_ok=True)

    def remove(self, scope: str, adapter_id: str) -> None:
        with _disk_errors():
            _remove_tree(self._root / scope / adapter_id)

    def remove_scope(self, scope: str) -> None:
        with _disk_errors():
            _remove_tree(self._root / scope)

    def prune(self) -> None:
        with _disk_errors():
            for scope in _names(self._root):
                _remove_unfinished(self._root / scope)


class BucketStorage:
    """Objects of any store that fsspec speaks to, and a folder of this machine into which each adapter is fetched once.

    Objects are not written in one step, so the manifest comes last and goes first.
    """

    def __init__(self, url: str, cache: Path) -> None:
        """`url` is fsspec's, such as `s3://bucket/adapters`; credentials and endpoint come from the environment."""
        self._fs: Any
        self._fs, root = url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
        self._root = str(root).rstrip("/")
        self._cache = cache

    def put(self, scope: str, adapter_id: str, files: Mapping[str, Path], manifest: bytes) -> bool:
        with _bucket_errors():
            if self._fs.exists(self._path(scope, adapter_id, MANIFEST)):
                return False
            self._fs.makedirs(self._path(scope, adapter_id), exist_ok=True)
            for name, path in files.items():
                self._fs.put_file(str(path), self._path(scope, adapter_id, name))
            self._fs.pipe_file(self._path(scope, adapter_id, MANIFEST), manifest)
            return True

    def manifest(self, scope: str, adapter_id: str) -> bytes | None:
        with _bucket_errors(), suppress(FileNotFoundError):
            return bytes(self._fs.cat_file(self._path(scope, adapter_id, MANIFEST), start=0, end=MANIFEST_BYTES))
        return None

    def adapter_ids(self, scope: str) -> list[str]:
        with _bucket_errors(), suppress(FileNotFoundError):
            names = (str(path).rstrip("/").rpartition("/")[2] for path in self._fs.ls(self._path(scope), detail=False))
            return [name for name in names if is_name(name)]
        return []

    def folder(self, stored: StoredAdapter) -> Path:
        manifest, target = stored.manifest, self._copy(stored)
        if target.is_dir():
            return target
        with _disk_errors(), _bucket_errors():
            unfinished = _temporary(target)
            unfinished.mkdir(parents=True)
            try:
                for name in (CONFIG, WEIGHTS):
                    self._fs.get_file(self._path(manifest.scope, manifest.adapter_id, name), str(unfinished / name))
                _rename(unfinished, target)  # or it was fetched by someone else meanwhile: the same bytes
            finally:
                shutil.rmtree(unfinished, ignore_errors=True)
        return target

    def drop_copy(self, stored: StoredAdapter) -> None:
        with _disk_errors():
            _remove_tree(self._copy(stored))

    def withdraw(self, scope: str, adapter_id: str) -> None:
        with _bucket_errors(), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(scope, adapter_id, MANIFEST))

    def remove(self, scope: str, adapter_id: str) -> None:
        self.withdraw(scope, adapter_id)
        with _bucket_errors(), suppress(FileNotFoundError):
            self._fs.rm(self._path(scope, adapter_id), recursive=True)
        with _disk_errors():
            for copy in (self._cache / scope).glob(f"{adapter_id}.*"):
                _remove_tree(copy)

    def remove_scope(self, scope: str) -> None:
        for adapter_id in self.adapter_ids(scope):
            self.remove(scope, adapter_id)
        with _bucket_errors(), suppress(FileNotFoundError):
            self._fs.rm(self._path(scope), recursive=True)
        with _disk_errors():
            _remove_tree(self._cache / scope)

    def prune(self) -> None:
        for scope in _names(self._cache):
            here = self._cache / scope
            for copy in here.iterdir():
                adapter_id = copy.name.partition(".")[0]
                if is_name(adapter_id) and self.manifest(scope, adapter_id) is None:
                    _remove_tree(copy)
            _remove_unfinished(here)
            with suppress(OSError):
                here.rmdir()  # only if nothing is left in it

    def _copy(self, stored: StoredAdapter) -> Path:
        """The digest is in the name: a folder never changes what it holds."""
        return self._cache / stored.manifest.scope / f"{stored.manifest.adapter_id}.{stored.manifest.digest}"

    def _path(self, *parts: str) -> str:
        return "/".join((self._root, *parts))


def _temporary(target: Path) -> Path:
    """A folder beside another that no name of an adapter can be."""
    return target.with_name(f".{target.name}.{uuid4().hex}")


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
    hidden = _temporary(folder)
    with suppress(FileNotFoundError):
        folder.rename(hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _remove_unfinished(scope: Path) -> None:
    for folder in scope.glob(".*"):
        with suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > UNFINISHED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _names(folder: Path) -> list[str]:
    with suppress(FileNotFoundError, NotADirectoryError):
        return [path.name for path in folder.iterdir() if is_name(path.name)]
    return []


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
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        log.error("the adapter store's disk cannot be used", error=os.strerror(error.errno or 0))
        raise StoreAway("The adapter store's disk is full or cannot be used", retry_after=30) from error


@contextmanager
def _bucket_errors() -> Iterator[None]:
    """Each kind of bucket has errors of its own; only "not found" has the same everywhere."""
    try:
        yield
    except (FileNotFoundError, StoreAway):
        raise
    except Exception as error:
        log.error("the adapter store's bucket cannot be used", kind=type(error).__name__)
        raise StoreAway("The adapter store does not answer", retry_after=10) from error
