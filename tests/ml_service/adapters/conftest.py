"""What tests of adapters begin with."""

import asyncio
import hashlib
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ml_service.adapters.store import AdapterStore
from ml_service.adapters.validation import Limits
from ml_service.models.catalogue import builtin_catalogue
from shared.adapter_store.manifest import CONFIG, MANIFEST, WEIGHTS, Manifest, StoredFile, encode
from shared.adapter_store.storage import FolderStorage, Storage
from tests.fixtures.loras import BASE, word_loras, write_lora
from tests.fixtures.ml_service import DATA_DIR

__all__ = ["word_loras"]

LIMITS = Limits(max_rank=16, max_bytes=32 * 2**20)


def store_on(storage: Storage) -> AdapterStore:
    """A store for adapters of the bundled model."""
    return AdapterStore(storage, builtin_catalogue(), DATA_DIR, LIMITS)


@pytest.fixture
def store(tmp_path: Path) -> AdapterStore:
    return store_on(FolderStorage(tmp_path / "adapters"))


@pytest.fixture
def lora(smollm2: Path, tmp_path: Path) -> Path:
    """A good adapter of rank 8, as PEFT would have saved it."""
    return write_lora(tmp_path / "lora")


def plant(root: Path, source: Path, scope: str, adapter_id: str, *, base_model: str = BASE, rank: int = 8) -> Path:
    """Put files into a store as someone who can write to it would: unchecked, with a manifest that fits them."""
    folder = root / scope / adapter_id
    folder.mkdir(parents=True)
    for name in (CONFIG, WEIGHTS):
        shutil.copyfile(source / name, folder / name)
    files = {
        name: StoredFile(size=(folder / name).stat().st_size, sha256=hashlib.sha256((folder / name).read_bytes()).hexdigest())
        for name in (CONFIG, WEIGHTS)
    }
    manifest = Manifest(adapter_id=adapter_id, scope=scope, base_model=base_model, rank=rank, created_at=datetime.now(UTC), files=files)
    (folder / MANIFEST).write_bytes(encode(manifest))
    return folder


def publish(root: Path, source: Path, scope: str, adapter_id: str) -> None:
    """Publish an adapter as the training worker does."""
    asyncio.run(store_on(FolderStorage(root)).publish(source, scope=scope, adapter_id=adapter_id, base_model=BASE))
