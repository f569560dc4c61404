"""Token sequences, the rows that a model computes at once, and the loss on replies, which training and evaluation compute alike.

Sequences are of very different lengths, and those of one thread begin with the same system turn. A row holds several without any padding,
and what they begin with alike only once: an attention mask lets each token see what its own sequence says before it, and nothing else.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
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
    group: str
    """Sequences of one group begin alike."""

    @property
    def first_learned(self) -> int:
        return next(index for index, label in enumerate(self.labels) if label != IGNORED)


@dataclass(slots=True)
class Row:
    """Sequences side by side. Of each token: its place in its own sequence, which tree it is in, and which branch of it (0 is the stem)."""

    tokens: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    trees: list[int] = field(default_factory=list)
    branches: list[int] = field(default_factory=list)
    predicting: list[int] = field(default_factory=list)
    """Indices of the tokens after which a learned one comes …"""
    targets: list[int] = field(default_factory=list)
    """… and the learned ones."""

    def add(self, tokens: Sequence[int], *, start: int, tree: int, branch: int) -> None:
        self.tokens += tokens
        self.positions += range(start, start + len(tokens))
        self.trees += [tree] * len(tokens)
        self.branches += [branch] * len(tokens)

    def learn(self, labels: Sequence[int]) -> None:
        """What is learned of the tokens that were added last; the first of them is not."""
        begin = len(self.tokens) - len(labels)
        for index, label in enumerate(labels):
            if label != IGNORED:
                self.predicting.append(begin + index - 1)
                self.targets.append(label)

    def tensors(self) -> dict[str, torch.Tensor]:
        """What `reply_loss` takes. The mask is square: rows are short."""
        trees, branches = torch.tensor(self.trees), torch.tensor(self.branches)
        visible = (trees[:, None] == trees[None, :]) & ((branches[None, :] == 0) | (branches[:, None] == branches[None, :]))
        return {
            "input_ids": torch.tensor([self.tokens]),
            "position_ids": torch.tensor([self.positions]),
            "attention_mask": visible.tril()[None, None],
            "predicting": torch.tensor(self.predicting),
            "targets": torch.tensor(self.targets),
        }


def rows(sequences: Iterable[TokenSequence], most_tokens: int) -> list[Row]:
    """Put sequences into rows of at most so many tokens; a longer sequence gets a row of its own."""
    groups: defaultdict[str, list[TokenSequence]] = defaultdict(list)
    for sequence in sequences:
        groups[sequence.group].append(sequence)
    filled = [Row()]
    tree = 0
    for group in groups.values():
        stem = _stem(group)
        branch = 0
        for sequence in group:
            cost = len(sequence.tokens) - (len(stem) if branch else 0)
            if filled[-1].tokens and len(filled[-1].tokens) + cost > most_tokens:
                filled.append(Row())
                branch = 0
            row = filled[-1]
            if branch == 0:
                tree += 1
                row.add(stem, start=0, tree=tree, branch=0)
            branch += 1
            row.add(sequence.tokens[len(stem) :], start=len(stem), tree=tree, branch=branch)
            row.learn(sequence.labels[len(stem) :])
    return filled if filled[0].tokens else []


def _stem(group: Sequence[TokenSequence]) -> list[int]:
    """What the sequences begin with alike, less so much that none of them learns its first token after it."""
    if len(group) == 1:
        return []
    alike = 0
    for column in zip(*(sequence.tokens for sequence in group), strict=False):
        if len(set(column)) > 1:
            break
        alike += 1
    return group[0].tokens[: min(alike, *(sequence.first_learned - 1 for sequence in group))]


def reply_loss(model: Any, row: dict[str, torch.Tensor]) -> torch.Tensor:
    """The loss of a row's learned tokens in nats, summed.

    Only they pass through the output layer, which is a large part of a small model's work.
    """
    output = model(
        input_ids=row["input_ids"],
        position_ids=row["position_ids"],
        attention_mask=row["attention_mask"],
        logits_to_keep=row["predicting"],
        use_cache=False,
    )
    return cross_entropy(output.logits[0].float(), row["targets"], reduction="sum")


def padded(prompts: Sequence[Sequence[int]], filler: int) -> dict[str, torch.Tensor]:
    """Prompts of one batch to go on from, padded on the left."""
    width = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[filler] * (width - len(prompt)) + list(prompt) for prompt in prompts]),
        "attention_mask": torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]),
    }
