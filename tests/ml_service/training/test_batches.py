"""Several sequences in one row are computed as if each was alone."""

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM

from ml_service.training.batches import IGNORED, TokenSequence, reply_loss, rows

SYSTEM = list(range(100, 120))


@pytest.fixture(scope="module")
def model(smollm2: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()


def sequence(seed: int, *, length: int = 24) -> TokenSequence:
    """Random tokens after a system turn; the last third of them and one in the middle are learned."""
    drawn = random.Random(seed).sample(range(1_000, 40_000), length)
    labels = [IGNORED] * len(SYSTEM) + [IGNORED] * (length // 2) + drawn[length // 2 : length // 2 + 1]
    labels += [IGNORED] * (len(SYSTEM) + length - len(labels) - length // 3) + drawn[-(length // 3) :]
    return TokenSequence(tokens=SYSTEM + drawn, labels=labels, replies=1)


def loss_alone(model: Any, one: TokenSequence) -> float:
    logits = model(input_ids=torch.tensor([one.tokens]), use_cache=False).logits[0, :-1]
    return float(cross_entropy(logits, torch.tensor(one.labels[1:]), ignore_index=IGNORED, reduction="sum"))


def test_a_rows_loss_is_that_of_its_sequences(model: Any) -> None:
    sequences = [sequence(1), sequence(2, length=40), sequence(3), sequence(4)]
    [row] = rows(sequences, 500)

    with torch.inference_mode():
        together, apart = float(reply_loss(model, row.tensors())), sum(loss_alone(model, each) for each in sequences)

    assert together == pytest.approx(apart, rel=1e-4)


def test_rows_are_no_longer_than_allowed_but_for_single_sequences() -> None:
    sequences = [sequence(seed) for seed in range(30)] + [sequence(99, length=300)]

    made = rows(sequences, 200)

    assert sorted(len(row.tokens) for row in made)[-1] == 320
    assert all(len(row.tokens) <= 200 for row in made if len(row.tokens) != 320)
    assert sum(len(row.targets) for row in made) == sum(label != IGNORED for each in sequences for label in each.labels)
    for row in made:  # what is learned is what comes next
        assert all(row.tokens[index + 1] == target for index, target in zip(row.predicting, row.targets, strict=True))
