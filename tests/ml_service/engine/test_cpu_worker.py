"""The CPU's LoRA operations against a plain loop over tokens."""

import pytest
import torch

pytest.importorskip("vllm.v1.worker.cpu_worker")

from ml_service.engine.cpu_worker import expand, expand_slice, shrink

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

MIXES = ([0, -1, 2, 3] * 20, [-1, -1, -1], [0, 0, 0], [3, -1, 0], [-1, 2, 2], [1, 3, -1])


def expected(inputs: torch.Tensor, weights: torch.Tensor, indices: list[int]) -> torch.Tensor:
    rows = [weights[index, 0] @ row if index >= 0 else torch.zeros(weights.shape[2]) for row, index in zip(inputs, indices, strict=True)]
    return torch.stack(rows)


@pytest.mark.parametrize("indices", MIXES)
def test_each_token_goes_through_its_own_adapter_or_none(indices: list[int]) -> None:
    torch.manual_seed(0)
    inputs, down, up = torch.randn(len(indices), 6), torch.randn(4, 1, 2, 6), torch.randn(4, 1, 5, 2)
    small = torch.full((len(indices), 2), 9.0)
    shrink(inputs, down, small, torch.tensor(indices), 0.5)
    torch.testing.assert_close(small, 0.5 * expected(inputs, down, indices))

    for add in (True, False):
        before = torch.randn(len(indices), 7)
        product = expected(small, up, indices)
        wide = before.clone()
        expand(small, up, wide, torch.tensor(indices), add)
        torch.testing.assert_close(wide[:, :5], product + before[:, :5] if add else product)
        torch.testing.assert_close(wide[:, 5:], before[:, 5:])
        sliced = before.clone()
        expand_slice(small, up, sliced, torch.tensor(indices), 1, 5, add)
        torch.testing.assert_close(sliced[:, 1:6], product + before[:, 1:6] if add else product)
        torch.testing.assert_close(sliced[:, :1], before[:, :1])
