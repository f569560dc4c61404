"""How much memory a training may take, and how it keeps to that.

Sequences are computed in rows of a bounded size, and longer ones with activation checkpointing (decision 0018). The estimates follow the
shape of a Llama's layers: floats kept per token and layer, times what the allocator and the libraries' scratch space were measured to add.
"""

import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import torch
from transformers.modeling_layers import GradientCheckpointingLayer

from ml_service.training.failures import TrainingFailed

MIB: Final = 2**20
ROW_TOKENS: Final = (512, 384, 256, 128)
"""Tokens of a row that are computed without checkpointing, the best first; the shortest take a quarter more time, a quarter less memory."""
GPU_ROW_TOKENS: Final = (8192, 4096, 2048, 1024, 512)
_BASE_MIB: Final = 750
"""The process before it has a model."""
_ALLOCATOR: Final = 1.5
"""What is taken from the system for a byte that tensors need."""
_SPARE: Final = 0.95
"""The share of what is free that may be taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSize:
    """What the estimates need of a model."""

    parameters: int
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    bytes_per_weight: int


def row_tokens_for(size: ModelSize, free_mib: int, longest: int) -> int:
    """Tokens of the largest rows that fit beside the weights, where `longest` are those of the longest sequence; the log has the estimate.

    Raises:
        TrainingFailed: not even the smallest fit.
    """
    choices = GPU_ROW_TOKENS if torch.cuda.is_available() else ROW_TOKENS
    for row_tokens in choices:
        needed = needed_mib(size, row_tokens, longest)
        if needed <= free_mib * _SPARE:
            print(f"training in rows of {row_tokens} tokens; about {needed:,} MiB of {free_mib:,} MiB free", file=sys.stderr)
            return row_tokens
    raise TrainingFailed(
        f"Training this model needs about {needed_mib(size, choices[-1], longest):,} MiB of memory, and {free_mib:,} MiB are free. "
        "Stop other programs, choose a smaller model, or train on a machine with more memory."
    )


def needed_mib(size: ModelSize, row_tokens: int, longest: int) -> int:
    """What a training needs at its peak."""
    kept_whole = 9 * size.hidden + 4 * size.intermediate  # floats per token and layer
    whole = row_tokens * size.layers * kept_whole
    checkpointed = longest * (size.layers * size.hidden + 2 * kept_whole) if longest > row_tokens else 0
    scores = 3 * max(row_tokens, longest) * size.vocabulary // 4  # few of a row's tokens are learned
    tensors = 4 * (max(whole, checkpointed) + scores)
    return int(_BASE_MIB + (size.parameters * size.bytes_per_weight + _ALLOCATOR * tensors) / MIB)


def free_mib() -> int:
    """Memory that this process may still take: the GPU's if there is one, else the machine's or the container's."""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[0] // MIB)
    available = psutil.virtual_memory().available
    limit = _container_bytes()
    return int((available if limit is None else min(available, limit)) // MIB)


def peak_mib() -> int:
    """The most that this process has held so far, on the GPU if there is one."""
    if torch.cuda.is_available():
        return int(torch.cuda.max_memory_reserved() // MIB)
    kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kib // 1024 if sys.platform != "darwin" else kib // MIB


def checkpointing(model: Any) -> Callable[[bool], None]:
    """A switch for a model's activation checkpointing, which is off at first."""
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    layers = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]

    def switch(on: bool) -> None:
        for layer in layers:
            layer.gradient_checkpointing = on

    switch(False)
    return switch


def _container_bytes() -> int | None:
    """What the control group leaves, if it limits memory."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit, taken = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
        statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # none, or "max"
        return None
    return limit - taken + int(statistics["inactive_file"])  # files' pages are given up when memory is wanted
