"""The adapter store: what the training worker publishes and every replica of the service finds."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

from ml_service.adapters.base_models import Shapes, linear_shapes
from ml_service.adapters.validation import Limits, read_files, validate
from ml_service.engine.protocol import AdapterRefused
from ml_service.models.catalogue import ModelEntry
from ml_service.settings import Settings
from shared.adapter_store.manifest import CONFIG, MANIFEST, WEIGHTS, DamagedManifest, Manifest, StoredFile, decode, encode
from shared.adapter_store.storage import Storage, open_storage
from shared.contracts.names import is_name
from shared.errors import Conflict

THREADS: Final = 4
"""Of the store alone: a bucket that does not answer holds up nothing else."""
PUBLISHED: Final = frozenset({CONFIG, WEIGHTS, "README.md"})
"""What PEFT saves; its README is left behind."""
STORED: Final = frozenset({CONFIG, WEIGHTS, MANIFEST})

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")


class AdapterExists(Conflict):
    """There is another adapter with this id; an adapter never changes."""


class AdapterStore:
    """Immutable versions of personal adapters, each under its owner's scope. What is no name is not found.

    Every method may raise `StoreAway`: the store cannot be reached, or is full.
    """

    def __init__(self, storage: Storage, catalogue: Mapping[str, ModelEntry], data_dir: Path, limits: Limits) -> None:
        self._storage = storage
        self._catalogue = catalogue
        self._data_dir = data_dir
        self._limits = limits
        self._threads = ThreadPoolExecutor(max_workers=THREADS, thread_name_prefix="adapters")

    @classmethod
    def open(cls, settings: Settings, catalogue: Mapping[str, ModelEntry]) -> "AdapterStore":
        """The store that the settings name."""
        data_dir = Path(settings.data_dir).resolve()
        storage = open_storage(settings.adapter_store, data_dir, data_dir / "adapters-cache")
        limits = Limits(max_rank=settings.max_lora_rank, max_bytes=settings.max_adapter_mib * 2**20)
        return cls(storage, catalogue, data_dir, limits)

    async def publish(self, folder: Path, *, scope: str, adapter_id: str, base_model: str) -> Manifest:
        """Check an adapter as PEFT saved it, and store it: all of it, or nothing.

        Publishing the same bytes again changes nothing and gives the manifest of the first time. `base_model` is a name of the catalogue.

        Raises:
            AdapterRefused: it cannot be served; the message says why.
            AdapterExists: another adapter has this id.
        """
        return await self._in_thread(self._publish, folder, scope, adapter_id, base_model)

    async def find(self, scope: str, adapter_id: str) -> Manifest | None:
        """A scope's adapter; None if there is none with this id, whatever other scopes have.

        Raises:
            AdapterRefused: its manifest is damaged.
        """
        return await self._in_thread(self._find, scope, adapter_id)

    async def of_scope(self, scope: str) -> list[Manifest]:
        """A scope's adapters, newest first; those with a damaged manifest are left out."""
        return await self._in_thread(self._of_scope, scope)

    async def folder(self, stored: Manifest) -> Path:
        """An adapter's files on this machine, checked: they are what was published, and what the engine accepts.

        Raises:
            AdapterRefused: they are not; the message says why.
        """
        return await self._in_thread(self._folder, stored)

    async def withdraw(self, scope: str, adapter_id: str) -> bool:
        """Let nobody find an adapter any more; its files stay until `delete`. False if nobody could."""
        return await self._in_thread(self._withdraw, scope, adapter_id)

    async def delete(self, scope: str, adapter_id: str) -> bool:
        """Remove an adapter; False if there was none. Who may still be using it is the caller's business."""
        return await self._in_thread(self._delete, scope, adapter_id)

    async def delete_scope(self, scope: str) -> None:
        """Remove all adapters of a scope, and whatever else of it there is."""
        if is_name(scope):
            for adapter_id in await self._in_thread(self._storage.adapter_ids, scope):
                await self.delete(scope, adapter_id)
            await self._in_thread(self._storage.remove, scope, None)

    async def prune(self) -> None:
        """Remove this machine's copies of what is no longer in the store, and what crashes left half written."""
        await self._in_thread(self._storage.prune)

    def close(self) -> None:
        """Start nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _in_thread(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *arguments)

    def _publish(self, folder: Path, scope: str, adapter_id: str, base_model: str) -> Manifest:
        if not (is_name(scope) and is_name(adapter_id)):
            raise AdapterRefused("An adapter's id and scope have only letters, digits, _ and -, at most 100 of them")
        if base_model not in self._catalogue:
            raise AdapterRefused("The adapter's base model is not in the catalogue")
        files = read_files(folder, PUBLISHED, self._limits)
        config = validate(files, self._limits, self._shapes_of(base_model))
        files[CONFIG] = config.encode(base_model)
        manifest = Manifest(
            adapter_id=adapter_id,
            scope=scope,
            base_model=base_model,
            rank=config.rank,
            created_at=datetime.now(UTC),
            files={name: _describe(data) for name, data in files.items()},
        )
        if self._storage.put(scope, adapter_id, files, encode(manifest)):
            return manifest
        present = self._find(scope, adapter_id)
        if present is not None and present.is_same_version(manifest):
            return present
        raise AdapterExists("Another adapter has this id, and an adapter never changes; publish under a new id")

    def _find(self, scope: str, adapter_id: str) -> Manifest | None:
        data = self._storage.manifest(scope, adapter_id) if is_name(scope) and is_name(adapter_id) else None
        try:
            return decode(data, scope, adapter_id) if data is not None else None
        except DamagedManifest as error:
            raise AdapterRefused(error.message) from error

    def _of_scope(self, scope: str) -> list[Manifest]:
        found: list[Manifest] = []
        for adapter_id in self._storage.adapter_ids(scope) if is_name(scope) else []:
            with suppress(AdapterRefused):
                stored = self._find(scope, adapter_id)
                found += [stored] if stored is not None else []
        return sorted(found, key=lambda each: (each.created_at, each.adapter_id), reverse=True)

    def _withdraw(self, scope: str, adapter_id: str) -> bool:
        if not (is_name(scope) and is_name(adapter_id)) or self._storage.manifest(scope, adapter_id) is None:
            return False
        self._storage.withdraw(scope, adapter_id)
        return True

    def _delete(self, scope: str, adapter_id: str) -> bool:
        known = self._withdraw(scope, adapter_id)
        if is_name(scope) and is_name(adapter_id):
            self._storage.remove(scope, adapter_id)  # also what has no manifest any more
        return known

    def _folder(self, manifest: Manifest) -> Path:
        if manifest.size_bytes > self._limits.max_bytes + 2**20:
            raise AdapterRefused(f"The adapter is larger than {self._limits.max_bytes} bytes (MAX_ADAPTER_MIB)")
        try:
            folder = self._storage.folder(manifest)
            files = read_files(folder, STORED, self._limits)
        except FileNotFoundError as error:
            raise AdapterRefused("The adapter's files are missing") from error
        for name, data in files.items():
            if _describe(data) != manifest.files[name]:
                self._storage.drop_copy(manifest)
                raise AdapterRefused(f"The adapter's {name} is damaged: it is not what was published")
        config = validate(files, self._limits, self._shapes_of(manifest.base_model))
        if config.rank != manifest.rank:
            raise AdapterRefused(f"The adapter's rank is {config.rank}, and its manifest says {manifest.rank}")
        return folder

    def _shapes_of(self, base_model: str) -> Shapes | None:
        entry = self._catalogue.get(base_model)
        return linear_shapes(entry, self._data_dir) if entry is not None else None


def _describe(data: bytes) -> StoredFile:
    return StoredFile(size=len(data), sha256=hashlib.sha256(data).hexdigest())
