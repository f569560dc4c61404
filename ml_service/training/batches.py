"""Token sequences, the rows that a model computes at once, and the loss on replies, which training and evaluation compute alike.

A row holds sequences of very different lengths side by side, without any padding. Computing each by itself takes a sixth more of a
processor, and several times as long on a GPU, which a few hundred tokens leave idle.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn.functional import cross_entropy

IGNORED = -100
"""The label of a token that is not learned; torch's own."""


@dataclass(frozen=True, slots=True)
class TokenSequence:
    """What is shown at once: the tokens, and as labels those of them that are learned, which are never the first ones."""

    tokens: list[int]
    labels: list[int]
    replies: int
    """How many replies are learned."""


@dataclass(slots=True)
class Row:
    """Sequences side by side. Positions begin at 0 in each: by that transformers tells them apart, and none sees another."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    predicting: list[int] = field(default_factory=list)
    """Indices of the tokens after which a learned one comes …"""
    targets: list[int] = field(default_factory=list)
    """… and the learned ones."""

    def add(self, sequence: TokenSequence) -> None:
        for index, label in enumerate(sequence.labels, start=len(self.tokens)):
            if label != IGNORED:
                self.predicting.append(index - 1)
                self.targets.append(label)
        self.tokens += sequence.tokens
        self.positions += range(len(sequence.tokens))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `reply_loss` takes."""
        return {
            "input_ids": torch.tensor([self.tokens]),
            "position_ids": torch.tensor([self.positions]),
            "predicting": torch.tensor(self.predicting),
            "targets": torch.tensor(self.targets),
        }


def rows(sequences: Iterable[TokenSequence], most_tokens: int) -> list[Row]:
    """Put sequences into rows of at most so many tokens; a longer sequence gets a row of its own."""
    filled: list[Row] = []
    for sequence in sequences:
        if not filled or len(filled[-1].tokens) + len(sequence.tokens) > most_tokens:
            filled.append(Row())
        filled[-1].add(sequence)
    return filled


def reply_loss(model: Any, row: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss of a row's learned tokens in nats, summed.

    Only they pass through the output layer, which is a large part of a small model's work.
    """
    output = model(input_ids=row["input_ids"], position_ids=row["position_ids"], logits_to_keep=row["predicting"], use_cache=False)
    return cross_entropy(output.logits[0].float(), row["targets"], reduction="sum")
