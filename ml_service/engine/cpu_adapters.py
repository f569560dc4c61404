"""LoRA on a CPU: many adapters in one batch, each token through its own one or none.

vLLM's own way is wrong there (vllm-project/vllm#48421). Here all tokens take one product with the first matrices of all adapters of the
batch, what is another adapter's is set to zero, and one product with the second matrices adds up what is left; see decision 0017.

Imports vLLM: only the engine's own process imports this, by name.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU


@dataclass(frozen=True, slots=True)
class BatchAdapters:
    """The adapters of a batch's rows.

    Attributes:
        stacked: which of the stacked adapters the batch has; others may be between them.
        others: (rows, adapters, 1) true where the adapter is not the row's; None: all rows have the one adapter.
    """

    stacked: slice
    others: torch.Tensor | None

    @classmethod
    def of(cls, indices: torch.Tensor) -> "BatchAdapters | None":
        """From each row's adapter, -1 for none; None if no row has one."""
        used = indices[indices >= 0]
        if not len(used):
            return None
        stacked = slice(int(used.min()), int(used.max()) + 1)
        others = indices.unsqueeze(1) != torch.arange(stacked.start, stacked.stop)
        return cls(stacked, others.unsqueeze(2) if bool(others.any()) else None)

    def expand(self, y: torch.Tensor, small: torch.Tensor, up: torch.Tensor) -> None:
        """Add to `y` (rows, outputs) what the second matrices make of `small` (rows, adapters · rank)."""
        second = up[self.stacked, 0].transpose(1, 2).reshape(-1, up.shape[2])
        if self.others is not None:
            rows = small.view(len(small), self.others.shape[1], -1)
            small = rows.masked_fill(self.others, 0).view_as(small)
        y += small @ second

    def add(self, y: torch.Tensor, x: torch.Tensor, down: torch.Tensor, up: torch.Tensor, scale: float) -> None:
        """Add to `y` (rows, outputs) what the rows' adapters make of `x` (rows, inputs)."""
        first = down[self.stacked, 0].reshape(-1, down.shape[3])
        small = x @ first.T
        self.expand(y, small if scale == 1 else small * scale, up)


class CpuAdapters(PunicaWrapperCPU):  # type: ignore[misc] # vLLM is not typed
    """What vLLM's layers call for their LoRA part; weights are stacked as (adapters, 1, rank, inputs) and (adapters, 1, outputs, rank)."""

    _tokens: BatchAdapters | None = None
    _samples: BatchAdapters | None = None

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        """Told by vLLM of each batch that differs from the one before."""
        super().update_metadata(*args, **kwargs)
        self._tokens = BatchAdapters.of(self.token_lora_indices)
        self._samples = BatchAdapters.of(self.sampler_indices)

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: Sequence[torch.Tensor],
        lora_b_stacked: Sequence[torch.Tensor],
        scale: float,
        output_slices: Sequence[int],
        **_kwargs: Any,
    ) -> None:
        """Add to `y` (tokens, outputs of all slices) what the tokens' adapters make of `x` (tokens, inputs)."""
        if self._tokens is None:
            return
        x = x.view(-1, x.shape[-1]).to(lora_a_stacked[0].dtype)
        slices = y.view(-1, y.shape[-1]).split(list(output_slices), dim=1)
        for part, down, up in zip(slices, lora_a_stacked, lora_b_stacked, strict=True):
            self._tokens.add(part, x, down, up, scale)

    def add_lora_logits(
        self, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: torch.Tensor, lora_b_stacked: torch.Tensor, scale: float, **_kwargs: Any
    ) -> None:
        """As `add_lora_linear`, for the one row of each answer that becomes its next token's logits."""
        if self._samples is not None and lora_a_stacked.any():  # hardly any adapter changes the logits, and their matrix is large
            x = x.view(-1, x.shape[-1]).to(lora_a_stacked.dtype)
            up = lora_b_stacked[:, :, : y.shape[-1]]  # vLLM pads the vocabulary
            self._samples.add(y.view(-1, y.shape[-1]), x, lora_a_stacked, up, scale)

    def add_lora_embedding(self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, **_kwargs: Any) -> None:
        """Add what the tokens' adapters make of `x` (tokens, rank), which vLLM has looked up."""
        if self._tokens is not None:
            adapters = self._tokens.stacked.stop - self._tokens.stacked.start
            self._tokens.expand(y, x.to(lora_b_stacked.dtype).repeat(1, adapters), lora_b_stacked)

    def add_shrink(self, *_args: Any, **_kwargs: Any) -> None:
        """Only layers sharded over several processes call this."""
        raise NotImplementedError("fully sharded adapters are not for CPUs")

    add_expand = add_shrink


def lay_out(model: torch.nn.Module) -> None:
    """Lay the second matrices of several adapters out so that one product takes them without copying: 19 ms a step instead of 28."""
    for module in model.modules():
        ups = getattr(module, "lora_b_stacked", None)
        if isinstance(ups, tuple):
            module.lora_b_stacked = tuple(up.transpose(2, 3).contiguous().transpose(2, 3) for up in ups)
