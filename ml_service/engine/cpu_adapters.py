"""LoRA on a CPU: many adapters in one batch, each token through its own one or none.

vLLM 0.32 takes a token's adapter as `weights[index]` there, and the index -1, which means "none", takes the last one: an answer of the
base model, in one batch with others, is spoken by somebody's adapter (vllm-project/vllm#48421). It also copies an adapter's weights for
every token. Here the tokens of a batch are grouped by adapter, once a batch and not in every layer, and each layer takes one product of
all groups with their adapters' first matrices and one with their second, of as many ranks as the batch's adapters have.

Imports vLLM: only the engine's own process imports this, by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU


@dataclass(frozen=True, slots=True)
class Groups:
    """The rows of a batch by adapter, all groups as long as the longest.

    Attributes:
        adapters: the stacked adapters that have rows, from the first to the last of them.
        rows: (adapters · longest group) the batch's row at each place, any where a group is shorter; None: all rows are one group.
        places: (rows) where among those a row is; any for rows of nobody.
        nobodys: (rows, 1) true where a row has no adapter; None: every row has one.
    """

    adapters: slice
    rows: torch.Tensor | None = None
    places: torch.Tensor | None = None
    nobodys: torch.Tensor | None = None

    @classmethod
    def of(cls, indices: torch.Tensor) -> "Groups | None":
        """From each row's adapter, -1 for none; None where no row has one."""
        used = [index for index in indices.unique().tolist() if index >= 0]
        if not used:
            return None
        adapters = slice(used[0], used[-1] + 1)
        nobodys = indices < 0
        if len(used) == 1 and not nobodys.any():
            return cls(adapters)
        sizes = torch.bincount(indices[~nobodys] - adapters.start, minlength=adapters.stop - adapters.start)
        longest = int(sizes.max())
        in_order = indices.argsort(stable=True)[int(nobodys.sum()) :]
        within = torch.arange(len(in_order)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
        places_in_order = (indices[in_order] - adapters.start) * longest + within
        rows = torch.zeros(len(sizes) * longest, dtype=torch.long).index_copy_(0, places_in_order, in_order)
        places = torch.zeros(len(indices), dtype=torch.long).index_copy_(0, in_order, places_in_order)
        return cls(adapters, rows, places, nobodys.unsqueeze(1) if nobodys.any() else None)

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        """(rows, width) by group: (adapters, longest group, width)."""
        return (x if self.rows is None else x.index_select(0, self.rows)).view(self.adapters.stop - self.adapters.start, -1, x.shape[-1])

    def scatter(self, grouped: torch.Tensor) -> torch.Tensor:
        """Undo `gather`; rows of nobody are zeros, whatever stood in their places."""
        rows = grouped.view(-1, grouped.shape[-1])
        if self.places is not None:
            rows = rows.index_select(0, self.places)
        return rows if self.nobodys is None else rows.masked_fill_(self.nobodys, 0)


class CpuAdapters(PunicaWrapperCPU):  # type: ignore[misc] # vLLM is not typed
    """What vLLM's layers call for their LoRA part; weights are stacked as (adapters, 1, rank, inputs) and (adapters, 1, outputs, rank)."""

    rank_of: Callable[[int], int] | None = None
    """An adapter's rank by vLLM's number for it; without this, all ranks that there is room for are multiplied."""

    _tokens: Groups | None = None
    _samples: Groups | None = None
    _rank: int | None = None

    def update_metadata(self, mapping: Any, lora_index_to_id: list[int | None], max_loras: int, vocab_size: int, **kwargs: Any) -> None:
        """Told by vLLM of each batch that differs from the one before."""
        super().update_metadata(mapping, lora_index_to_id, max_loras, vocab_size, **kwargs)
        self._tokens = Groups.of(self.token_lora_indices)
        self._samples = Groups.of(self.sampler_indices)
        if self.rank_of is not None:
            self._rank = max((self.rank_of(number) for number in lora_index_to_id if number is not None), default=None)

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
        """Add to `y` (tokens, outputs of all slices) what the tokens' adapters make of `x` (tokens, inputs)."""
        if self._tokens is not None:
            self._add(y, x, self._tokens, lora_a_stacked, lora_b_stacked, scale)

    def add_lora_logits(
        self, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: torch.Tensor, lora_b_stacked: torch.Tensor, scale: float, **_kwargs: Any
    ) -> None:
        """As `add_lora_linear`, for the one row of each answer that becomes its next token's logits."""
        if self._samples is not None and lora_a_stacked.any():  # hardly any adapter changes the logits, and their matrix is large
            self._add(y, x, self._samples, [lora_a_stacked], [lora_b_stacked], scale)

    def add_lora_embedding(self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, **_kwargs: Any) -> None:
        """Add what the tokens' adapters make of `x` (tokens, rank), which vLLM has looked up."""
        if self._tokens is not None:
            small = self._tokens.gather(x.to(lora_b_stacked.dtype))[:, :, : self._rank]
            y += self._tokens.scatter(torch.bmm(small, self._second(lora_b_stacked, self._tokens)))

    def add_shrink(self, *_args: Any, **_kwargs: Any) -> None:
        """Only layers sharded over several processes call this."""
        raise NotImplementedError("fully sharded adapters are not for CPUs")

    add_expand = add_shrink

    def _add(
        self, y: torch.Tensor, x: torch.Tensor, groups: Groups, downs: Sequence[torch.Tensor], ups: Sequence[torch.Tensor], scale: float
    ) -> None:
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        grouped = groups.gather(x.to(downs[0].dtype))
        if scale != 1:
            grouped = grouped * scale
        added = [
            torch.bmm(torch.bmm(grouped, down[groups.adapters, 0, : self._rank].transpose(1, 2)), self._second(up, groups))
            for down, up in zip(downs, ups, strict=True)
        ]
        y += groups.scatter(torch.cat(added, dim=2) if len(added) > 1 else added[0])[:, : y.shape[1]]  # vLLM pads the vocabulary

    def _second(self, up: torch.Tensor, groups: Groups) -> torch.Tensor:
        """The second matrices of a batch's adapters: (adapters, rank, outputs), and so they lie in memory, see `lay_out`."""
        return up[groups.adapters, 0, :, : self._rank].transpose(1, 2)


def lay_out(model: torch.nn.Module) -> None:
    """Lay the second matrices out in memory by rank, so that the ranks an adapter does not have are not read."""
    for module in model.modules():
        ups = getattr(module, "lora_b_stacked", None)
        if isinstance(ups, tuple):
            module.lora_b_stacked = tuple(up.transpose(2, 3).contiguous().transpose(2, 3) for up in ups)
