from pathlib import Path

import pytest
import torch

from ml_service.training.failures import TrainingFailed
from ml_service.training.lora import model_size
from ml_service.training.memory import ModelSize, free_mib, needed_mib, row_tokens_for
from tests.fixtures.training import spec_of

SMALL = ModelSize(parameters=135_000_000, layers=30, hidden=576, intermediate=1536, vocabulary=49_152, bytes_per_weight=4)
LARGE = ModelSize(parameters=3_400_000_000, layers=26, hidden=3072, intermediate=9216, vocabulary=131_072, bytes_per_weight=4)


def test_the_bundled_model_is_measured_before_it_is_loaded(smollm2: Path) -> None:
    size = model_size(spec_of(smollm2))

    assert (size.layers, size.hidden, size.intermediate, size.vocabulary) == (30, 576, 1536, 49_152)
    assert 134_000_000 < size.parameters < 136_000_000


def test_a_machine_with_memory_gets_long_rows_and_a_small_one_short_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert row_tokens_for(SMALL, 16_000, 400) == 512
    assert row_tokens_for(SMALL, needed_mib(SMALL, 128, 400) + 150, 400) == 128


def test_the_bundled_model_fits_into_three_gigabytes_at_the_default_length() -> None:
    assert needed_mib(SMALL, 512, 1024) <= 3_000


def test_a_machine_without_memory_is_told_so_before_anything_is_loaded() -> None:
    with pytest.raises(TrainingFailed) as refusal:
        row_tokens_for(LARGE, 8_000, 400)

    assert "8,000 MiB are free" in str(refusal.value)
    assert "smaller model" in str(refusal.value)


def test_what_is_free_is_known_here() -> None:
    assert 100 < free_mib() < 10_000_000
