"""Looking at the GPU."""

import subprocess
from pathlib import Path

import pytest

from ml_service.models.catalogue import has_gpu

needs_gpu = pytest.mark.skipif(not has_gpu(), reason="needs a CUDA GPU and vLLM's GPU build: make test-gpu ACCELERATOR=gpu")

CATALOGUE = """
[models.twin]
description = "The same weights from a folder, under another name"
source = "folder"
location = "{folder}"
parameters = 135_000_000
disk_gib = 0.3
context_length = 8192
"""


def used_mib() -> int:
    """Memory of the first GPU that is taken, by whomever."""
    command = ["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[0])


def catalogue_with_twin(folder: Path, model: Path) -> str:
    """A catalogue file with the bundled model once more, as a local folder."""
    path = folder / "gpu-models.toml"
    path.write_text(CATALOGUE.format(folder=model))
    return str(path)
