"""What replaces vLLM's operations on a CPU, against a plain loop over tokens and against vLLM's own."""

from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("vllm.v1.worker.cpu_worker")

from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU
from vllm.platforms.cpu import CpuPlatform
from vllm.v1.sample.ops import topk_topp_sampler
from vllm.v1.worker.cpu_worker import CPUWorker

from ml_service.engine.cpu_adapters import BatchAdapters, CpuAdapters, lay_out
from ml_service.engine.cpu_sampling import CANDIDATES, cut_nucleus, sort_and_cut
from ml_service.engine.cpu_worker import EngineCpuWorker

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")

ADAPTERS, RANK, INPUTS, WIDTHS = 4, 2, 6, (5, 3)
MIXES = ([0, -1, 2, 3] * 20, [3] * 70 + [1, 0, -1], [3, 1, 2, 0] * 20, [-1, -1, -1], [0, 0, 0], [3, -1, 0], [-1, 2, 2], [1, 3, -1], [2])


class Layer(torch.nn.Module):  # type: ignore[misc]
    """One layer's adapters, as vLLM stacks them."""

    def __init__(self) -> None:
        super().__init__()
        self.lora_a_stacked = tuple(torch.randn(ADAPTERS, 1, RANK, INPUTS) for _ in WIDTHS)
        self.lora_b_stacked = tuple(torch.randn(ADAPTERS, 1, width, RANK) for width in WIDTHS)

    def expected(self, inputs: torch.Tensor, indices: list[int], slice_number: int) -> torch.Tensor:
        down, up = self.lora_a_stacked[slice_number], self.lora_b_stacked[slice_number]
        rows = [up[i, 0] @ (down[i, 0] @ row) if i >= 0 else torch.zeros(up.shape[2]) for row, i in zip(inputs, indices, strict=True)]
        return torch.stack(rows)


def adapters_for(indices: list[int]) -> CpuAdapters:
    adapters = CpuAdapters(max_num_batched_tokens=128, max_batches=8, device="cpu")
    adapters._tokens = adapters._samples = BatchAdapters.of(torch.tensor(indices))
    return adapters


@pytest.fixture(params=[False, True], ids=["as vLLM lays them out", "as we do"])
def layer(request: pytest.FixtureRequest) -> Layer:
    torch.manual_seed(0)
    layer = Layer()
    if request.param:
        lay_out(layer)
    return layer


@pytest.mark.parametrize("indices", MIXES)
def test_each_token_goes_through_its_own_adapter_or_none(layer: Layer, indices: list[int]) -> None:
    inputs, before = torch.randn(len(indices), INPUTS), torch.randn(len(indices), sum(WIDTHS))
    outputs = before.clone()
    adapters_for(indices).add_lora_linear(outputs, inputs, layer.lora_a_stacked, layer.lora_b_stacked, 0.5, WIDTHS)
    added = torch.cat([layer.expected(inputs, indices, number) for number in range(len(WIDTHS))], dim=1)
    torch.testing.assert_close(outputs, before + 0.5 * added)
    nobodys = torch.tensor(indices) < 0
    assert torch.equal(outputs[nobodys], before[nobodys])


@pytest.mark.parametrize("indices", MIXES)
def test_logits_and_embeddings_too(layer: Layer, indices: list[int]) -> None:
    inputs, before = torch.randn(len(indices), INPUTS), torch.randn(len(indices), WIDTHS[0])
    logits = before.clone()
    adapters_for(indices).add_lora_logits(logits, inputs, layer.lora_a_stacked[0], layer.lora_b_stacked[0], 1.0)
    torch.testing.assert_close(logits, before + layer.expected(inputs, indices, 0))

    small = torch.stack([layer.lora_a_stacked[0][index, 0] @ row for row, index in zip(inputs, indices, strict=True)])
    embedded = before.clone()
    adapters_for(indices).add_lora_embedding(embedded, small, layer.lora_b_stacked[0])
    torch.testing.assert_close(embedded, before + layer.expected(inputs, indices, 0))


def test_an_adapter_that_overflows_spoils_only_its_own_tokens(layer: Layer) -> None:
    indices = [0, 1, -1, 1]
    layer.lora_a_stacked[0][0] = torch.finfo(torch.float32).max
    inputs = torch.full((4, INPUTS), 3.0)
    outputs = torch.zeros(4, sum(WIDTHS))
    adapters_for(indices).add_lora_linear(outputs, inputs, layer.lora_a_stacked, layer.lora_b_stacked, 1.0, WIDTHS)
    assert not outputs[0].isfinite().all()
    torch.testing.assert_close(outputs[1:, : WIDTHS[0]], layer.expected(inputs, indices, 0)[1:])


@pytest.mark.parametrize("scale", [0.1, 1.0, 6.0], ids=["all tokens are about as likely", "wide", "narrow"])
def test_the_nucleus_is_the_one_that_sorting_finds(scale: float) -> None:
    torch.manual_seed(1)
    logits = torch.randn(6, 5000) * scale
    top_p = torch.tensor([0.05, 0.5, 0.9, 0.99, 1.0, 1e-6])
    ours, sorted_ones = cut_nucleus(logits.clone(), None, top_p), sort_and_cut(logits.clone(), None, top_p)
    # Tokens on the very edge may fall on either side by rounding: sums of 5,000 probabilities, added up from either end.
    assert (ours.softmax(-1) - sorted_ones.softmax(-1)).abs().sum(-1).max() < 1e-3
    both = ours.isfinite() & sorted_ones.isfinite()
    assert torch.equal(ours[both], sorted_ones[both])
    assert ours[5].isfinite().sum() == 1


def test_a_row_with_a_large_nucleus_beside_one_with_a_small_one() -> None:
    torch.manual_seed(2)
    logits = torch.stack([torch.randn(5000) * 8, torch.randn(5000) * 0.1])
    cut = cut_nucleus(logits.clone(), None, torch.tensor([0.9, 0.9]))
    assert 1 <= cut[0].isfinite().sum() < CANDIDATES < cut[1].isfinite().sum() < 5000
    kept = cut[1].isfinite()
    assert torch.equal(cut[1][kept], logits[1][kept])


def test_top_k_is_left_to_vllm() -> None:
    torch.manual_seed(3)
    logits, k, p = torch.randn(2, 1000), torch.tensor([5, 1000]), torch.tensor([0.9, 0.5])
    assert torch.equal(cut_nucleus(logits.clone(), k, p), sort_and_cut(logits.clone(), k, p))


def test_an_engine_that_would_mix_voices_does_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CpuPlatform, "get_punica_wrapper", CpuPlatform.get_punica_wrapper)  # both are put back afterwards
    monkeypatch.setattr(topk_topp_sampler, "apply_top_k_top_p_pytorch", sort_and_cut)
    monkeypatch.setattr(CPUWorker, "load_model", lambda _worker: None)
    vllms_own = PunicaWrapperCPU(max_num_batched_tokens=128, max_batches=8, device="cpu")
    worker = EngineCpuWorker.__new__(EngineCpuWorker)
    manager = SimpleNamespace(punica_wrapper_mapping={"language_model": vllms_own})
    worker.model_runner = SimpleNamespace(model=SimpleNamespace(lora_manager=manager))
    with pytest.raises(RuntimeError, match="chooses its LoRA operations in another way"):
        worker.load_model()
