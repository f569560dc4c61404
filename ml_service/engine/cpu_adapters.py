"""LoRA on a CPU: many adapters in one batch, each token through its own one or none.

vLLM 0.32 takes a token's adapter as `weights[index]` there, and the index -1, which means "none", takes the last one: an answer of the
base model, in one batch with others, is spoken by somebody's adapter (vllm-project/vllm#48421). It also copies an adapter's weights for
every token. Here tokens of other adapters are masked out between the two products, so that a batch with any number of adapters takes the
same two products as a batch with one; which tokens are whose is found once a batch and not in every layer.

Imports vLLM: only the engine's own process imports this, by name.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import linear
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose the rows of a batch are: of nobody (both None), all of adapter `one`, or mixed.

    `others` is (rows, adapters): true where a row is not this adapter's.
    """

    one: int | None
    others: torch.Tensor | None

    @classmethod
    def of(cls, indices: torch.Tensor, adapters: int) -> "Owners":
        """From each row's adapter, -1 for none."""
        used = indices.unique().tolist()
        if used in ([], [-1]):
            return cls(None, None)
        if len(used) == 1:
            return cls(used[0], None)
        return cls(None, indices.unsqueeze(1) != torch.arange(adapters))

    @property
    def nobody(self) -> bool:
        """Whether no row has an adapter."""
        return self.one is None and self.others is None


class CpuAdapters(PunicaWrapperCPU):  # type: ignore[misc] # vLLM is not typed
    """What vLLM's layers call for their LoRA part; weights are stacked as (adapters, 1, rank, inputs) and (adapters, 1, outputs, rank)."""

    _tokens = Owners(None, None)
    _samples = Owners(None, None)

    def update_metadata(self, mapping: Any, lora_index_to_id: list[int | None], max_loras: int, vocab_size: int, **kwargs: Any) -> None:
        """Told by vLLM of each batch that differs from the one before."""
        super().update_metadata(mapping, lora_index_to_id, max_loras, vocab_size, **kwargs)
        self._tokens = Owners.of(self.token_lora_indices, len(lora_index_to_id))
        self._samples = Owners.of(self.sampler_indices, len(lora_index_to_id))

    def add_lora_linear(
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **_kwargs: Any,
    ) -> None:
        """Add to each slice of `y` (tokens, outputs) what the tokens' adapters make of `x` (tokens, inputs)."""
        if self._tokens.nobody:
            return
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        inputs = x.to(lora_a_stacked[0].dtype)
        begin = 0
        for down, up, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
            y[:, begin : begin + width] += expand(shrink(inputs, down, self._tokens, scale), up, self._tokens)
            begin += width

    def add_lora_logits(
        self, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: torch.Tensor, lora_b_stacked: torch.Tensor, scale: float, **_kwargs: Any
    ) -> None:
        """As `add_lora_linear`, for the one row of each answer that becomes its next token's logits."""
        if self._samples.nobody or not lora_a_stacked.any():  # hardly any adapter changes the logits, and their matrix is large
            return
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        small = shrink(x.to(lora_a_stacked.dtype), lora_a_stacked, self._samples, scale)
        y += expand(small, lora_b_stacked, self._samples)[:, : y.shape[1]]

    def add_lora_embedding(self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, **_kwargs: Any) -> None:
        """Add what the tokens' adapters make of `x` (tokens, rank), which vLLM has looked up."""
        if not self._tokens.nobody:
            y += expand(only_own(x.to(lora_b_stacked.dtype), lora_b_stacked, self._tokens), lora_b_stacked, self._tokens)

    def add_shrink(self, *_args: Any, **_kwargs: Any) -> None:
        """Only layers sharded over several processes call this."""
        raise NotImplementedError("fully sharded adapters are not for CPUs")

    add_expand = add_shrink


def shrink(inputs: torch.Tensor, down: torch.Tensor, owners: Owners, scale: float) -> torch.Tensor:
    """The tokens' products with their adapters' first matrices, times `scale`.

    Returns:
        (tokens, rank) where all tokens are of one adapter, else (tokens, adapters · rank) with zeros at other tokens' adapters.
    """
    small = linear(inputs, down[owners.one, 0] if owners.one is not None else down.view(-1, down.shape[-1]))
    if scale != 1:
        small *= scale
    return small if owners.one is not None else _masked(small, down.shape[0], owners)


def only_own(small: torch.Tensor, up: torch.Tensor, owners: Owners) -> torch.Tensor:
    """What `shrink` returns, from the one product (tokens, rank) that each token has."""
    if owners.one is not None:
        return small
    return _masked(small.repeat(1, up.shape[0]), up.shape[0], owners)


def expand(small: torch.Tensor, up: torch.Tensor, owners: Owners) -> torch.Tensor:
    """The products of what `shrink` returned with the adapters' second matrices: (tokens, outputs)."""
    matrices = up[:, 0].transpose(1, 2)  # (adapters, rank, outputs), and so they lie in memory: see `lay_out`
    return small @ (matrices[owners.one] if owners.one is not None else matrices.flatten(0, 1))


def _masked(small: torch.Tensor, adapters: int, owners: Owners) -> torch.Tensor:
    """Filled and not multiplied with zeros, because zero times infinity is not zero."""
    assert owners.others is not None
    return small.view(small.shape[0], adapters, -1).masked_fill_(owners.others.unsqueeze(2), 0).flatten(1)


def lay_out(model: torch.nn.Module) -> None:
    """Lay the second matrices out in memory so that those of all adapters together are one matrix, and `expand` copies nothing."""
    for module in model.modules():
        ups = getattr(module, "lora_b_stacked", None)
        if isinstance(ups, tuple):
            module.lora_b_stacked = tuple(up.transpose(2, 3).contiguous().transpose(2, 3) for up in ups)
