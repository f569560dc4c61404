"""How much memory a training may take, and how it keeps to that.

Sequences are computed in rows of a bounded size, and longer ones with activation checkpointing (decision 0018). The estimates follow the
shape of a Llama's layers: floats kept per token and layer, times what the allocator and the libraries' scratch space were measured to add.
"""

import resource
import sys
from collections.abc import Callable
from contextlib import suppress
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


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """How a training computes: rows of up to `row_tokens` as they are, longer ones with checkpointing."""

    row_tokens: int
    needed_mib: int
    """What the whole process (or GPU) is expected to hold at its peak."""
    free_mib: int

    def __str__(self) -> str:
        return f"rows of {self.row_tokens} tokens; about {self.needed_mib:,} MiB of {self.free_mib:,} MiB free"


def plan(size: ModelSize, free_mib: int, longest: int, choices: tuple[int, ...] = ROW_TOKENS) -> MemoryPlan:
    """The largest rows that fit.

    Args:
        size: the model's.
        free_mib: what may be taken, the model's own weights included.
        longest: tokens of the longest sequence.
        choices: row sizes, the best first.

    Raises:
        TrainingFailed: not even the smallest fit.
    """
    for row_tokens in choices:
        needed = needed_mib(size, row_tokens, longest)
        if needed <= free_mib * _SPARE:
            return MemoryPlan(row_tokens=row_tokens, needed_mib=needed, free_mib=free_mib)
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
    """What the control group leaves, if it limits memory (version 2, then 1)."""
    for folder, most, used, cache in (
        ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):  # not this version, or "max"
            limit = int((Path(folder) / most).read_text())
            taken = int((Path(folder) / used).read_text())
            statistics = dict(line.split() for line in (Path(folder) / "memory.stat").read_text().splitlines())
            if limit < psutil.virtual_memory().total:
                return limit - taken + int(statistics.get(cache, 0))  # files' pages are given up when memory is wanted
    return None
