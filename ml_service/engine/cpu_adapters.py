"""LoRA on a CPU: many adapters in one batch, each token through its own one or none.

vLLM 0.32 takes a token's adapter as `weights[index]` there, and the index -1, which means "none", takes the last one: an answer of the
base model, in one batch with others, is spoken by somebody's adapter (vllm-project/vllm#48421). It also copies an adapter's weights for
every token. Here the tokens of a batch are grouped by adapter, once a batch and not in every layer, and each layer takes one product of
all groups with their adapters' first matrices and one with their second, of as many ranks as the batch's adapters have.

Imports vLLM: only the engine's own process imports this, by name.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

MOST_PADDING: Final = 128
"""Batches that have at most so many rows with their padding take one product, which is then cheaper than several."""


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows of a batch by adapter, all groups as long as the longest.

    Attributes:
        adapters: the stacked adapters that the groups are of.
        rows: (adapters · longest group) the batch's row at each place, any where a group is shorter; None: all rows, of one adapter.
        places: where among those the rows are that count; None: all count.
        targets: the batch's rows to which those belong, in their order; None: every row.
    """

    adapters: slice
    rows: torch.Tensor | None = None
    places: torch.Tensor | None = None
    targets: torch.Tensor | None = None

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        """The rows of (rows, width) by group: (adapters, longest group, width)."""
        return (x if self.rows is None else x.index_select(0, self.rows)).view(self.adapters.stop - self.adapters.start, -1, x.shape[-1])

    def add_to(self, y: torch.Tensor, grouped: torch.Tensor) -> None:
        """Add what was made of the groups to the rows of `y` that they came from; rows of nobody are not touched."""
        added = grouped.reshape(-1, grouped.shape[-1])
        if self.places is not None:
            added = added.index_select(0, self.places)
        if self.targets is None:
            y += added
        else:
            y.index_add_(0, self.targets, added.to(y.dtype))


def groups_of(indices: torch.Tensor) -> tuple[Groups, ...]:
    """Group a batch from each row's adapter, -1 for none.

    All adapters together, unless one has so many more rows than the others (a prompt beside answers) that most would be padding.
    """
    used = [index for index in indices.unique().tolist() if index >= 0]
    if not used:
        return ()
    owned = indices >= 0
    if len(used) == 1 and bool(owned.all()):
        return (Groups(slice(used[0], used[0] + 1)),)
    adapters = slice(used[0], used[-1] + 1)
    sizes = torch.bincount(indices[owned] - adapters.start, minlength=adapters.stop - adapters.start)
    longest = int(sizes.max())
    if len(used) == 1 or len(sizes) * longest > max(MOST_PADDING, 2 * int(sizes.sum())):
        own_rows = [(index, (indices == index).nonzero().flatten()) for index in used]
        return tuple(Groups(slice(index, index + 1), rows=rows, targets=rows) for index, rows in own_rows)
    in_order = indices.argsort(stable=True)[int((~owned).sum()) :]
    within = torch.arange(len(in_order)) - (sizes.cumsum(0) - sizes).repeat_interleave(sizes)
    places = (indices[in_order] - adapters.start) * longest + within
    rows = torch.zeros(len(sizes) * longest, dtype=torch.long).index_copy_(0, places, in_order)
    if bool(owned.all()):
        return (Groups(adapters, rows, places[in_order.argsort()]),)
    return (Groups(adapters, rows, places, in_order),)


class CpuAdapters(PunicaWrapperCPU):  # type: ignore[misc] # vLLM is not typed
    """What vLLM's layers call for their LoRA part; weights are stacked as (adapters, 1, rank, inputs) and (adapters, 1, outputs, rank)."""

    rank_of: Callable[[int], int] | None = None
    """An adapter's rank by vLLM's number for it; without this, all ranks that there is room for are multiplied."""

    _tokens: tuple[Groups, ...] = ()
    _samples: tuple[Groups, ...] = ()
    _rank: int | None = None

    def update_metadata(self, mapping: Any, lora_index_to_id: list[int | None], max_loras: int, vocab_size: int, **kwargs: Any) -> None:
        """Told by vLLM of each batch that differs from the one before."""
        super().update_metadata(mapping, lora_index_to_id, max_loras, vocab_size, **kwargs)
        self._tokens = groups_of(self.token_lora_indices)
        self._samples = groups_of(self.sampler_indices)
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
        for groups in self._tokens:
            self._add(y, x, groups, lora_a_stacked, lora_b_stacked, scale)

    def add_lora_logits(
        self, y: torch.Tensor, x: torch.Tensor, lora_a_stacked: torch.Tensor, lora_b_stacked: torch.Tensor, scale: float, **_kwargs: Any
    ) -> None:
        """As `add_lora_linear`, for the one row of each answer that becomes its next token's logits."""
        if self._samples and lora_a_stacked.any():  # hardly any adapter changes the logits, and their matrix is large
            for groups in self._samples:
                self._add(y, x, groups, [lora_a_stacked], [lora_b_stacked], scale)

    def add_lora_embedding(self, y: torch.Tensor, x: torch.Tensor, lora_b_stacked: torch.Tensor, **_kwargs: Any) -> None:
        """Add what the tokens' adapters make of `x` (tokens, rank), which vLLM has looked up."""
        for groups in self._tokens:
            small = groups.gather(x.to(lora_b_stacked.dtype))[:, :, : self._rank]
            groups.add_to(y, torch.bmm(small, self._second(lora_b_stacked, groups)))

    def add_shrink(self, *_args: Any, **_kwargs: Any) -> None:
        """Only layers sharded over several processes call this."""
        raise NotImplementedError("fully sharded adapters are not for CPUs")

    add_expand = add_shrink

    def _add(
        self, y: torch.Tensor, x: torch.Tensor, groups: Groups, downs: Sequence[torch.Tensor], ups: Sequence[torch.Tensor], scale: float
    ) -> None:
        y, x = y.view(-1, y.shape[-1]), x.view(-1, x.shape[-1])
        grouped = groups.gather(x).to(downs[0].dtype)
        if scale != 1:
            grouped = grouped * scale
        added = [
            torch.bmm(torch.bmm(grouped, down[groups.adapters, 0, : self._rank].transpose(1, 2)), self._second(up, groups))
            for down, up in zip(downs, ups, strict=True)
        ]
        groups.add_to(y, (torch.cat(added, dim=2) if len(added) > 1 else added[0])[:, :, : y.shape[1]])  # vLLM pads the vocabulary

    def _second(self, up: torch.Tensor, groups: Groups) -> torch.Tensor:
        """The second matrices of a batch's adapters: (adapters, rank, outputs), and so they lie in memory, see `lay_out`."""
        return up[groups.adapters, 0, :, : self._rank].transpose(1, 2)


def lay_out(model: torch.nn.Module) -> None:
    """Lay the second matrices out in memory by rank, so that the ranks an adapter does not have are not read."""
    for module in model.modules():
        ups = getattr(module, "lora_b_stacked", None)
        if isinstance(ups, tuple):
            module.lora_b_stacked = tuple(up.transpose(2, 3).contiguous().transpose(2, 3) for up in ups)
