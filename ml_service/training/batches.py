"""Batches, and the loss on their replies, which training and evaluation compute alike."""

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100
"""The label of a token that is not learned; torch's own."""

Tokens = dict[str, list[int]]


def tokens(prompt: list[int], reply: list[int]) -> Tokens:
    """A prompt and its reply, of which only the reply is learned."""
    return {"input_ids": prompt + reply, "labels": [IGNORED] * len(prompt) + reply}


def collate(rows: Sequence[Tokens], padding: int) -> dict[str, torch.Tensor]:
    """Pad on the left, so that all replies end in the last column and logits are needed for the last few columns only."""
    width = max(len(row["input_ids"]) for row in rows)

    def padded(values: list[int], filler: int) -> list[int]:
        return [filler] * (width - len(values)) + values

    return {
        "input_ids": torch.tensor([padded(row["input_ids"], padding) for row in rows]),
        "attention_mask": torch.tensor([padded([1] * len(row["input_ids"]), 0) for row in rows]),
        "position_ids": torch.tensor([padded(list(range(len(row["input_ids"]))), 0) for row in rows]),
        "labels": torch.tensor([padded(row["labels"], IGNORED) for row in rows]),
    }


def reply_loss(model: Any, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, int]:
    """The replies' loss in nats, summed over their tokens, and how many tokens they have."""
    labels = batch["labels"]
    learned = labels != IGNORED
    first = int(learned.any(dim=0).nonzero()[0])  # no row's reply begins before this column
    width = labels.shape[1]
    inputs = {name: values for name, values in batch.items() if name != "labels"}
    logits = model(**inputs, logits_to_keep=width - first + 1, use_cache=False).logits
    loss = cross_entropy(logits[:, :-1].float().flatten(0, 1), labels[:, first:].flatten(), ignore_index=IGNORED, reduction="sum")
    return loss, int(learned.sum())
