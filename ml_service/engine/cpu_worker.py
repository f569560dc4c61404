"""vLLM's worker for CPUs, with a batch's answers kept apart: what asks for no adapter gets none.

In vLLM 0.32 the CPU's LoRA operations take a token's adapter as `weights[index]`, and the index -1, which means "none", takes the last one:
an answer of the base model, in one batch with others, is spoken by somebody's adapter (vllm-project/vllm#48421). The operations here skip
such tokens. Nor do they copy an adapter's weights for every token.

Imports vLLM: only vLLM's own worker processes import this, by name.
"""

from typing import Any, Final

import torch
from vllm.lora.ops.torch_ops import lora_ops
from vllm.lora.punica_wrapper import punica_cpu
from vllm.v1.worker.cpu_worker import CPUWorker

FEW_TOKENS: Final = 64
"""Up to so many are multiplied with all adapters at once, of which each takes its own: one multiplication costs less than several."""


class AdapterCpuWorker(CPUWorker):  # type: ignore[misc] # vLLM is not typed
    """Replaces the operations in its own process, before the model is loaded."""

    def load_model(self, *args: Any, **kwargs: Any) -> None:
        for name, operation in (("bgmv_shrink", shrink), ("bgmv_expand", expand), ("bgmv_expand_slice", expand_slice)):
            for module in (lora_ops, punica_cpu):  # the second has the names of the first, and the first calls its own
                if not hasattr(module, name):
                    raise RuntimeError(f"This vLLM has no {name}: see whether ml_service.engine.cpu_worker is still needed")
                setattr(module, name, operation)
        super().load_model(*args, **kwargs)


def shrink(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, scaling: float = 1.0) -> None:
    """As vLLM's `bgmv_shrink`: `output[t] = scaling * weights[indices[t]] @ inputs[t]`, and 0 where the index is -1."""
    products = _products(inputs, weights, indices, output.dtype)
    output[:, : products.shape[1]] = products.mul_(scaling)


def expand(inputs: torch.Tensor, weights: torch.Tensor, output: torch.Tensor, indices: torch.Tensor, add_inputs: bool = True) -> None:
    """As vLLM's `bgmv_expand`: adds (or writes) to `output` what the adapters make of `inputs`; the two may be padded differently."""
    products = _products(inputs, weights, indices, output.dtype)
    rows = 1 if products.shape[0] == 1 else output.shape[0]
    _put(output[:, : products.shape[1]], products[:rows, : output.shape[1]], add_inputs)


def expand_slice(
    inputs: torch.Tensor,
    weights: torch.Tensor,
    output: torch.Tensor,
    indices: torch.Tensor,
    slice_offset: int,
    slice_size: int,
    add_inputs: bool = True,
) -> None:
    """As vLLM's `bgmv_expand_slice`: `expand` into some of the columns."""
    _put(output[:, slice_offset : slice_offset + slice_size], _products(inputs, weights, indices, output.dtype), add_inputs)


def _put(target: torch.Tensor, products: torch.Tensor, add: bool) -> None:
    if add:
        target += products
    else:
        target[:] = products


def _products(inputs: torch.Tensor, weights: torch.Tensor, indices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Each token's product with its adapter's matrix: (tokens, outputs); 0 for tokens without an adapter.

    `weights` is (adapters, outputs, inputs), or has a 1 in between.
    """
    matrices = weights.squeeze(1) if weights.dim() == 4 else weights
    inputs = inputs.to(dtype)
    used = indices.unique().tolist()
    if len(used) == 1 and used[0] >= 0:
        return inputs @ matrices[used[0]].to(dtype).T
    if inputs.shape[0] <= FEW_TOKENS:
        adapters, outputs = matrices.shape[:2]
        each = (inputs @ matrices.flatten(0, 1).to(dtype).T).view(-1, adapters, outputs)
        own = indices.clamp(min=0).view(-1, 1, 1).expand(-1, 1, outputs)
        return each.gather(1, own).squeeze(1).masked_fill_((indices < 0).unsqueeze(1), 0)
    products = inputs.new_zeros((inputs.shape[0], matrices.shape[1]))
    for index in used:
        if index >= 0:
            tokens = (indices == index).nonzero().squeeze(1)
            products[tokens] = inputs[tokens] @ matrices[index].to(dtype).T
    return products
