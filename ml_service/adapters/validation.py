"""What an adapter's files must be before the engine sees them. They may come from anywhere; nothing here runs code of theirs.

The engine's own loader refuses much of this too, but some of it only after it has begun, and it reads pickles.
"""

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy
from msgspec import Meta
from numpy.typing import NDArray
from safetensors import SafetensorError, deserialize

from ml_service.adapters.base_models import Shapes, layer_name
from ml_service.engine.protocol import AdapterRefused
from shared.adapter_store.manifest import CONFIG, WEIGHTS

CONFIG_BYTES: Final = 64 * 2**10
HEADER_BYTES: Final = 4 * 2**20
"""Of the weights; longer headers are not parsed."""
LARGEST_ALPHA: Final = 1024
LARGEST_WEIGHT: Final = 100
"""Training gives weights around 0.1. Larger ones than this could overflow in the model."""
FLOATS: Final = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Types of numbers that weights may have, and how numpy reads them; it does not know bfloat16."""
TENSOR_NAME: Final = re.compile(r"base_model\.model\.(?P<module>[A-Za-z0-9_.]{1,300})\.lora_(?P<side>[AB])\.weight")
TARGET: Final = r"\A[A-Za-z0-9_.]{1,300}\Z"
FIELD: Final = re.compile(r"(?:field `|`\$\.)(\w+)")
"""In msgspec's messages."""
WITHOUT_EFFECT: Final = frozenset(
    {
        "auto_mapping", "base_model_name_or_path", "corda_config", "eva_config", "inference_mode", "loftq_config", "lora_dropout",
        "lora_ga_config", "megatron_core", "peft_version", "qalora_group_size", "revision", "runtime_config", "task_type",
    }
)  # fmt: skip
"""Keys of PEFT's file that say how it was made or trained, and change nothing where it is served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The highest rank, and the most bytes that the weights may have."""

    max_rank: int
    max_bytes: int


class LoraConfig(msgspec.Struct, kw_only=True):
    """What matters of PEFT's `adapter_config.json`, and the values that are served."""

    rank: Annotated[int, Meta(ge=1)] = msgspec.field(name="r")
    alpha: Annotated[float, Meta(gt=0, le=LARGEST_ALPHA)] = msgspec.field(name="lora_alpha")
    targets: Annotated[list[Annotated[str, Meta(pattern=TARGET)]], Meta(min_length=1)] = msgspec.field(name="target_modules")
    rslora: bool = msgspec.field(name="use_rslora", default=False)
    peft_type: Literal["LORA"] = "LORA"
    bias: Literal["none"] = "none"
    init_lora_weights: Literal["gaussian", "eva", "orthogonal", "mica", "lora_ga"] | bool | None = True
    """How weights were before training. Other ways, such as PiSSA and OLoRA, have changed the base model itself."""

    def encode(self, base_model: str) -> bytes:
        """The file anew, with nothing in it that the checks did not see: the same adapter gives the same bytes on every machine."""
        content = {
            **msgspec.to_builtins(self),
            "base_model_name_or_path": base_model,
            "fan_in_fan_out": False,
            "inference_mode": True,
            "init_lora_weights": True,
            "lora_dropout": 0.0,
            "task_type": "CAUSAL_LM",
        }
        return msgspec.json.format(msgspec.json.encode(content, order="sorted"), indent=2)


def read_files(folder: Path, allowed: frozenset[str], limits: Limits) -> dict[str, bytes]:
    """The two files of an adapter; of one that is too large, one byte more than is accepted.

    Raises:
        AdapterRefused: one is missing, or there is anything but plain files of the allowed names; a pickle is refused by its name.
    """
    try:
        found = {path.name: path.lstat() for path in folder.iterdir()}
    except OSError as error:
        raise AdapterRefused("The adapter's files are missing") from error
    for name in (CONFIG, WEIGHTS):
        if name not in found:
            raise AdapterRefused(f"The adapter has no {name}")
    for name, status in found.items():
        if name not in allowed:
            raise AdapterRefused(f"The adapter has a file that does not belong to one; only {', '.join(sorted(allowed))} may be there")
        if not stat.S_ISREG(status.st_mode):
            raise AdapterRefused(f"The adapter's {name} is not an ordinary file")
    files = {}
    for name in (CONFIG, WEIGHTS):
        with (folder / name).open("rb") as stream:
            files[name] = stream.read(limits.max_bytes + 1)
    return files


def validate(files: Mapping[str, bytes], limits: Limits, shapes: Shapes | None) -> LoraConfig:
    """Check the two files of an adapter; without the base model's shapes, comparing with them is left to the engine.

    Raises:
        AdapterRefused: the engine must not be given this.
    """
    config = _read_config(files[CONFIG], limits)
    matrices = _read_matrices(files[WEIGHTS], limits.max_bytes)
    _check_pairs(matrices, config, shapes)
    for matrix in matrices.values():
        _check_values(matrix)
    return config


def _read_config(data: bytes, limits: Limits) -> LoraConfig:
    if len(data) > CONFIG_BYTES:
        raise AdapterRefused(f"The adapter's {CONFIG} is larger than {CONFIG_BYTES // 2**10} KiB")
    try:
        content = msgspec.json.decode(data, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise AdapterRefused(f"The adapter's {CONFIG} is not a JSON object") from error
    try:
        config = msgspec.convert(content, LoraConfig)
    except msgspec.ValidationError as error:
        found = FIELD.search(str(error))  # the rest of the message may quote the file
        name = found[1] if found else "a field"
        raise _config_error(f"{name} is missing or has a value that is not served; save the adapter as a plain LoRA") from error
    if config.rank > limits.max_rank:
        raise _config_error(f"r is {config.rank}; adapters of a rank above {limits.max_rank} are not served (MAX_LORA_RANK)")
    known = {field.encode_name for field in msgspec.structs.fields(LoraConfig)} | WITHOUT_EFFECT
    for key, value in sorted(content.items()):
        # Any other option changes what the weights mean, or names files and code: DoRA, modules_to_save, rank_pattern, …
        if key not in known and value not in (None, False, [], {}):
            raise _config_error(f"{_printable(key)} is not supported; leave it out")
    config.targets = sorted(set(config.targets))
    return config


def _read_matrices(data: bytes, max_bytes: int) -> dict[str, NDArray[Any]]:
    """The matrices by name. What they are called, and whether the file holds exactly what its header says, the format's library checks."""
    if len(data) > max_bytes:
        raise AdapterRefused(f"The adapter's {WEIGHTS} is larger than {max_bytes} bytes (MAX_ADAPTER_MIB)")
    if int.from_bytes(data[:8], "little") > HEADER_BYTES:
        raise AdapterRefused(f"The adapter's {WEIGHTS} has a header larger than {HEADER_BYTES // 2**20} MiB, or none")
    try:
        tensors: list[tuple[str, dict[str, Any]]] = deserialize(data)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        raise AdapterRefused(f"The adapter's {WEIGHTS} is damaged or cut off") from error
    return {name: _matrix(**tensor) for name, tensor in tensors}


def _matrix(dtype: str, shape: list[int], data: bytearray) -> NDArray[Any]:
    if dtype not in FLOATS:
        raise AdapterRefused(f"The adapter's {WEIGHTS} holds tensors of a type other than {', '.join(FLOATS)}")
    if len(shape) != 2 or 0 in shape:
        raise AdapterRefused(f"The adapter's {WEIGHTS} holds tensors that are not matrices")
    values = numpy.frombuffer(data, FLOATS[dtype])
    if dtype == "BF16":  # the upper half of a float32
        values = (values.astype("<u4") << 16).view("<f4")
    return values.reshape(shape)


def _check_values(matrix: NDArray[Any]) -> None:
    """Refuse weights that are no numbers, or so large that the model's states would not stay numbers.

    Such states do not only spoil the answer in which they come up: they stay in the memory of the attention, and spoil answers that have
    nothing to do with this adapter.
    """
    largest = numpy.abs(matrix).max()
    if not numpy.isfinite(largest):
        raise AdapterRefused(f"The adapter's {WEIGHTS} holds values that are not finite numbers")
    if largest > LARGEST_WEIGHT:
        raise AdapterRefused(f"The adapter's {WEIGHTS} holds values beyond ±{LARGEST_WEIGHT}, which no training gives")


def _check_pairs(matrices: dict[str, NDArray[Any]], config: LoraConfig, shapes: Shapes | None) -> None:
    modules: dict[str, dict[str, NDArray[Any]]] = {}
    for name, matrix in matrices.items():
        match = TENSOR_NAME.fullmatch(name)
        if match is None:
            raise _weights_error(f"{_printable(name)} is not a LoRA matrix of a layer (…lora_A.weight or …lora_B.weight)")
        modules.setdefault(match["module"], {})[match["side"]] = matrix
    if not modules:
        raise _weights_error("there are no matrices in it")
    for module, pair in modules.items():
        if len(pair) != 2:
            raise _weights_error(f"{module} has only one of lora_A and lora_B")
        (rank_a, inputs), (outputs, rank_b) = pair["A"].shape, pair["B"].shape
        if rank_a != config.rank or rank_b != config.rank:
            raise _weights_error(f"{module} has rank {rank_a} and {rank_b}, and {CONFIG} says {config.rank}")
        if module.rpartition(".")[2] not in config.targets and module not in config.targets:
            raise _weights_error(f"{module} is not among target_modules")
        if shapes is None:
            continue
        expected = shapes.get(layer_name(module) or "")
        if expected is None:
            raise _weights_error(f"{module} is not a layer of the base model; it was made for another one")
        if (outputs, inputs) not in expected:
            raise _weights_error(f"{module} is for {inputs} inputs and {outputs} outputs, which the base model does not have there")


def _config_error(problem: str) -> AdapterRefused:
    return AdapterRefused(f"The adapter's {CONFIG} cannot be used: {problem}")


def _weights_error(problem: str) -> AdapterRefused:
    return AdapterRefused(f"The adapter's {WEIGHTS} cannot be used: {problem}")


def _printable(name: str) -> str:
    """A name out of a file, safe to show."""
    return re.sub(r"[^A-Za-z0-9_.\-]", "?", name)[:80]
