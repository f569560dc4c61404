"""Which layers of a base model an adapter can change, told by the checkpoint's own headers, without loading it."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from safetensors import safe_open

from ml_service.models.catalogue import ModelEntry, bundled_folder

# With DOTALL the first match is the whole rest: a name with a line break in it is not searched again from each `layers` on.
LAYER: Final = re.compile(r"(?:^|\.)(layers\.\d+\..+)", re.DOTALL)

Shapes = Mapping[str, frozenset[tuple[int, int]]]
"""By a layer's name from `layers.` on, such as `layers.0.self_attn.q_proj`, its possible (outputs, inputs). What comes before differs
between a checkpoint and the model that transformers makes of it, and a model may have several towers with layers of the same name."""


def layer_name(module: str) -> str | None:
    """A module's name from `layers.` on; None for modules outside of layers, such as embeddings."""
    match = LAYER.search(module)
    return match[1] if match else None


def linear_shapes(entry: ModelEntry, data_dir: Path) -> Shapes | None:
    """The matrices in a model's layers; None while the checkpoint is not on this machine, or names its layers in another way."""
    folder = _local_folder(entry, data_dir)
    if folder is None:
        return None
    shapes: dict[str, set[tuple[int, int]]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        for name, shape in _matrices(file):
            layer = layer_name(name.removesuffix(".weight"))
            if layer is not None and name.endswith(".weight"):
                shapes.setdefault(layer, set()).add(shape)
    return {name: frozenset(found) for name, found in shapes.items()} or None


def _local_folder(entry: ModelEntry, data_dir: Path) -> Path | None:
    if entry.source == "hub":
        return _hub_snapshot(entry)
    folder = bundled_folder(entry, data_dir) if entry.source == "bundled" else Path(entry.location)
    return folder if folder.is_dir() else None


def _hub_snapshot(entry: ModelEntry) -> Path | None:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(entry.location, revision=entry.revision, local_files_only=True))
    except LocalEntryNotFoundError:
        return None


def _matrices(file: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names and shapes of a safetensors file's tensors of two dimensions."""
    with safe_open(file, "numpy") as checkpoint:
        for name in checkpoint.keys():  # noqa: SIM118 (it is no dictionary)
            shape = checkpoint.get_slice(name).get_shape()
            if len(shape) == 2:
                yield name, (shape[0], shape[1])
