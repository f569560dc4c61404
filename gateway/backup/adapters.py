"""The adapters' files in a backup: out of the store that the ML service keeps them in, and back into it."""

import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from uuid import UUID

from gateway.backup.archive import ADAPTERS, BUFFER_BYTES, Archive, ArchiveWriter
from gateway.backup.errors import BackupError
from gateway.backup.manifest import Manifest
from gateway.backup.progress import Progress, say
from gateway.backup.settings import BackupSettings
from shared.adapter_store.manifest import CONFIG, MANIFEST, WEIGHTS, DamagedManifest, StoredFile, decode
from shared.adapter_store.manifest import Manifest as AdapterManifest
from shared.adapter_store.storage import Storage, open_storage
from shared.errors import Unavailable


def storage_of(settings: BackupSettings, copies: Path) -> Storage:
    """The adapters' storage.

    Raises:
        BackupError: it cannot be used.
    """
    try:
        return open_storage(settings.adapter_store, Path(settings.data_dir).resolve(), copies)
    except (ImportError, ValueError) as error:  # the package for this kind of bucket; a URL that nobody understands
        raise BackupError(f"ADAPTER_STORE cannot be used: {error}") from error


@dataclass(frozen=True, slots=True)
class WrittenAdapters:
    """How many adapters are in a backup, how many had no whole files, and the files."""

    taken: int
    missing: int
    files: dict[str, StoredFile]


def write_adapters(writer: ArchiveWriter, storage: Storage, wanted: list[tuple[UUID, UUID]]) -> WrittenAdapters:
    """Write those that the database names, each whole or not at all.

    One that is being published has no row yet: what trained it has its figures only in Redis, and after a restore it is trained anew.
    """
    with _in_words():
        there = [found for account_id, adapter_id in wanted if (found := _find(storage, str(account_id), str(adapter_id)))]
        progress = Progress("adapters", sum(stored.size_bytes for stored, _ in there))
        files: dict[str, StoredFile] = {}
        taken = 0
        for stored, data in there:
            with _whole(storage, stored) as contents:
                if contents is None:
                    continue
                taken += 1
                folder = "/".join((ADAPTERS, *stored.key))
                writer.add_bytes(f"{folder}/{MANIFEST}", data)
                files[f"{folder}/{MANIFEST}"] = StoredFile(size=len(data), sha256=hashlib.sha256(data).hexdigest())
                for name, content in contents.items():
                    published = stored.files[name]
                    files[f"{folder}/{name}"] = written = writer.add(f"{folder}/{name}", content, published.size, progress)
                    if written != published:
                        raise BackupError("An adapter's files changed while they were read: run the backup again")
        progress.end()
    return WrittenAdapters(taken, len(wanted) - taken, files)


def _find(storage: Storage, scope: str, adapter_id: str) -> tuple[AdapterManifest, bytes] | None:
    """The adapter and its manifest as it is stored; None if the store has none that can be read."""
    data = storage.manifest(scope, adapter_id)
    if data is None:
        return None
    try:
        return decode(data, scope, adapter_id), data
    except DamagedManifest:
        return None


@contextmanager
def _whole(storage: Storage, stored: AdapterManifest) -> Iterator[dict[str, IO[bytes]] | None]:
    """Its two files, open and as they were published; None if they are not. Whoever deletes it now takes nothing away from us."""
    with ExitStack() as stack:
        stack.callback(storage.drop_copy, stored)
        contents: dict[str, IO[bytes]] = {}
        try:
            folder = storage.folder(stored)
            for name in (CONFIG, WEIGHTS):
                contents[name] = stack.enter_context((folder / name).open("rb"))
        except FileNotFoundError:
            yield None
            return
        is_whole = all(_describe(content) == stored.files[name] for name, content in contents.items())
        yield contents if is_whole else None


def _describe(content: IO[bytes]) -> StoredFile:
    """What a file is; it is then read from its start."""
    digest, count = hashlib.sha256(), 0
    while data := content.read(BUFFER_BYTES):
        digest.update(data)
        count += len(data)
    content.seek(0)
    return StoredFile(size=count, sha256=digest.hexdigest())


class AdapterRestore:
    """Puts a backup's adapters into the store, and takes them back if the rest fails."""

    def __init__(self, storage: Storage, folder: Path) -> None:
        """`folder` is where an adapter's files are put together."""
        self._storage = storage
        self._folder = folder
        self._added: list[tuple[str, str]] = []

    def put(self, archive: Archive, manifest: Manifest) -> None:
        """Store all but those that the store has already.

        Raises:
            BackupError: the store or the disk cannot be used, or the backup has changed since it was verified.
        """
        progress = Progress("adapters", sum(file.size for file in manifest.files.values()))
        current: tuple[str, str] | None = None
        with _in_words():
            for name, data in archive.pieces(lambda name: name.startswith(f"{ADAPTERS}/"), progress):
                _, scope, adapter_id, file = name.split("/")
                if current != (scope, adapter_id):
                    self._store(current, manifest)
                    current = scope, adapter_id
                with (self._folder / file).open("ab") as stream:
                    stream.write(data)
            self._store(current, manifest)
        progress.end()

    def take_back(self) -> None:
        """Remove what was added."""
        try:
            for key in self._added:
                self._storage.remove(*key)
        except Unavailable:
            say("the adapters of the backup could not be removed from ADAPTER_STORE again; run it again, or remove them by hand")

    def tidy(self, rows: Sequence[tuple[UUID, UUID]], *, remove: bool) -> None:
        """Look for adapters that no row names: they were made after the backup, and nobody would ever delete them.

        Raises:
            BackupError: the store cannot be used.
        """
        named = {(str(account_id), str(adapter_id)) for account_id, adapter_id in rows}
        with _in_words():
            unnamed = [key for key in self._stored() if key not in named]
            for key in unnamed if remove else ():
                self._storage.remove(*key)
        if unnamed and remove:
            say(f"{len(unnamed)} adapters in ADAPTER_STORE were made after the backup: removed")
        elif unnamed:
            say(f"{len(unnamed)} adapters in ADAPTER_STORE belong to no account of the backup: nobody uses them, and they can be removed")

    def _stored(self) -> Iterator[tuple[str, str]]:
        """What is surely an adapter of a gateway's: the setting may name a folder with other things in it."""
        for scope in filter(_is_uuid, self._storage.scopes()):
            for adapter_id in filter(_is_uuid, self._storage.adapter_ids(scope)):
                if _find(self._storage, scope, adapter_id) is not None:
                    yield scope, adapter_id

    def _store(self, key: tuple[str, str] | None, manifest: Manifest) -> None:
        """Store what was put together, and have room for the next one."""
        if key is None:
            return
        files = {name: self._folder / name for name in (CONFIG, WEIGHTS, MANIFEST)}
        for name, path in files.items():
            with path.open("rb") as content:
                if _describe(content) != manifest.files["/".join((ADAPTERS, *key, name))]:
                    raise BackupError("The backup changed while it was restored: run it again with a file that nobody writes to")
        data = files.pop(MANIFEST).read_bytes()
        if not self._has(key, data):
            self._storage.remove(*key)  # what is left of one that is damaged
            self._added.append(key)
            if not self._storage.put(*key, {name: path.read_bytes() for name, path in files.items()}, data):
                raise BackupError("Something else writes to ADAPTER_STORE: stop the ML service and its workers, and run it again")
        shutil.rmtree(self._folder)
        self._folder.mkdir()

    def _has(self, key: tuple[str, str], data: bytes) -> bool:
        found = _find(self._storage, *key)
        if found is None or found[1] != data:
            return False
        with _whole(self._storage, found[0]) as contents:
            return contents is not None


@contextmanager
def _in_words() -> Iterator[None]:
    """A store that is away, or a disk that is full, in a sentence."""
    try:
        yield
    except Unavailable as error:
        raise BackupError(f"{error.message}: check ADAPTER_STORE, and run it again") from error
    except OSError as error:
        raise BackupError(f"The adapters' files could not be read or written ({error.strerror}): check ADAPTER_STORE and TMPDIR") from error


def _is_uuid(name: str) -> bool:
    try:
        return str(UUID(name)) == name
    except ValueError:
        return False
