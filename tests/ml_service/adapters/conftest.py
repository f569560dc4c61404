"""What tests of adapters begin with."""

from pathlib import Path

import pytest

from ml_service.adapters.storage import FolderStorage, Storage
from ml_service.adapters.store import AdapterStore
from ml_service.adapters.validation import Limits
from ml_service.models.catalogue import builtin_catalogue
from tests.fixtures.loras import word_loras, write_lora
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
