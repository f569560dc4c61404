"""Reading safetensors with suspicion: the header is believed only where the file bears it out.

The format: https://github.com/huggingface/safetensors#format.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy

from ml_service.adapters.manifest import WEIGHTS
from ml_service.engine.protocol import AdapterRefused

HEADER_BYTES: Final = 4 * 2**20
MOST_TENSORS: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Float:
    """A floating point type read as whole numbers, which without their sign are in the same order: `infinity` and what is beyond it, no
    numbers, come last."""

    width: int
    unsigned: str
    magnitude: int
    infinity: int
    largest: int
    """`LARGEST_WEIGHT`."""


FLOATS: Final = {
    "F32": _Float(4, "<u4", 0x7FFFFFFF, 0x7F800000, 0x42C80000),
    "F16": _Float(2, "<u2", 0x7FFF, 0x7C00, 0x5640),
    "BF16": _Float(2, "<u2", 0x7FFF, 0x7F80, 0x42C8),
}
LARGEST_WEIGHT: Final = 100
"""Training gives weights around 0.1. Larger ones than this could overflow in the model."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A matrix in the file: `begin` and `end` are bytes from the file's start."""

    dtype: str
    shape: tuple[int, int]
    begin: int
    end: int


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: list[int]
    data_offsets: tuple[int, int]


def read_tensors(path: Path, max_bytes: int) -> dict[str, Tensor]:
    """The matrices that a file holds, by name.

    Raises:
        AdapterRefused: it is too large, incomplete, or holds anything but matrices of floating point numbers, one behind the other.
    """
    size = path.stat().st_size
    if size > max_bytes:
        raise AdapterRefused(f"The adapter's {WEIGHTS} has {size} bytes; {max_bytes} are allowed (MAX_ADAPTER_MIB)")
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if size < 8 or length > size - 8:
            raise AdapterRefused(f"The adapter's {WEIGHTS} is cut off in its header")
        if length > HEADER_BYTES:
            raise AdapterRefused(f"The adapter's {WEIGHTS} has a header larger than {HEADER_BYTES // 2**20} MiB")
        header = _decode(stream.read(length))
    if len(header) > MOST_TENSORS:
        raise AdapterRefused(f"The adapter's {WEIGHTS} has more than {MOST_TENSORS} tensors")
    tensors = {name: _tensor(entry, 8 + length) for name, entry in header.items()}
    _check_layout(tensors, begin=8 + length, size=size)
    return tensors


def check_values(path: Path, tensors: dict[str, Tensor]) -> None:
    """Refuse weights that are no numbers, or so large that the model's states would not stay numbers.

    Such states do not only spoil the answer in which they come up: they stay in the memory of the attention, and spoil answers that have
    nothing to do with this adapter.

    Raises:
        AdapterRefused: there are such.
    """
    data = path.read_bytes()
    for tensor in tensors.values():
        kind = FLOATS[tensor.dtype]
        bits = numpy.frombuffer(data, kind.unsigned, count=math.prod(tensor.shape), offset=tensor.begin)
        largest = int((bits & kind.magnitude).max())
        if largest >= kind.infinity:
            raise AdapterRefused(f"The adapter's {WEIGHTS} holds values that are not finite numbers")
        if largest > kind.largest:
            raise AdapterRefused(f"The adapter's {WEIGHTS} holds values beyond ±{LARGEST_WEIGHT}, which no training gives")


def _decode(raw: bytes) -> dict[str, _Entry]:
    try:
        header = msgspec.json.decode(raw, type=dict[str, Any])
        msgspec.convert(header.pop("__metadata__", {}), dict[str, str])
        return msgspec.convert(header, dict[str, _Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise AdapterRefused(f"The adapter's {WEIGHTS} has a header that cannot be read") from error


def _tensor(entry: _Entry, offset: int) -> Tensor:
    if entry.dtype not in FLOATS:
        raise AdapterRefused(f"The adapter's {WEIGHTS} holds tensors of a type other than {', '.join(FLOATS)}")
    if len(entry.shape) != 2 or not all(1 <= size <= 2**24 for size in entry.shape):
        raise AdapterRefused(f"The adapter's {WEIGHTS} holds tensors that are not matrices")
    begin, end = entry.data_offsets
    rows, columns = entry.shape
    if begin < 0 or end - begin != rows * columns * FLOATS[entry.dtype].width:
        raise AdapterRefused(f"The adapter's {WEIGHTS} has a tensor whose size is not that of its shape")
    return Tensor(entry.dtype, (rows, columns), offset + begin, offset + end)


def _check_layout(tensors: dict[str, Tensor], *, begin: int, size: int) -> None:
    """The tensors must lie one behind the other up to the very end."""
    position = begin
    for tensor in sorted(tensors.values(), key=lambda each: each.begin):
        if tensor.begin != position:
            raise AdapterRefused(f"The adapter's {WEIGHTS} has gaps or tensors that overlap")
        position = tensor.end
    if position > size:
        raise AdapterRefused(f"The adapter's {WEIGHTS} is cut off: {position - size} bytes are missing")
    if position < size:
        raise AdapterRefused(f"The adapter's {WEIGHTS} has {size - position} bytes too many")
