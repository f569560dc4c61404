"""Nucleus sampling (top-p) on a CPU without sorting the vocabulary, which takes as long as the model itself (decision 0017).

Imports vLLM: only the engine's own process imports this.
"""

from typing import Final

import torch
from vllm.v1.sample.ops import topk_topp_sampler

CANDIDATES: Final = 256
"""The likeliest tokens; nearly always they hold the whole nucleus."""

sort_and_cut = topk_topp_sampler.apply_top_k_top_p_pytorch
"""vLLM's own way."""


def cut_nucleus(logits: torch.Tensor, k: torch.Tensor | None, p: torch.Tensor | None, allow_cpu_sync: bool = False) -> torch.Tensor:
    """As vLLM's `apply_top_k_top_p_pytorch`, with the same tokens left: those whose likelier ones together have less than `p`.

    `logits` (rows, vocabulary) are changed in place: tokens that are cut get -inf. Where `k` is given, vLLM's own way is taken.
    """
    if k is not None or p is None or logits.shape[1] <= CANDIDATES:
        return sort_and_cut(logits, k, p, allow_cpu_sync)
    likeliest, tokens = logits.topk(CANDIDATES)
    probabilities = (likeliest - logits.logsumexp(-1, keepdim=True)).exp_()
    upto = probabilities.cumsum(-1)
    cut = likeliest.masked_fill(upto - probabilities >= p.unsqueeze(1), -torch.inf)
    wide = (upto[:, -1] < p).nonzero().squeeze(1)  # rows whose nucleus is larger
    sorted_rows = sort_and_cut(logits[wide], None, p[wide], allow_cpu_sync) if len(wide) else None
    logits.fill_(-torch.inf).scatter_(1, tokens, cut)
    if sorted_rows is not None:
        logits[wide] = sorted_rows
    return logits
