from pathlib import Path

import pytest
import torch
from peft import get_peft_model
from safetensors import safe_open
from transformers import Mistral3Config, Mistral3ForConditionalGeneration

from ml_service.training.batches import IGNORED, TokenSequence, reply_loss, rows
from ml_service.training.failures import TrainingFailed
from ml_service.training.lora import TARGETS, load_model, lora_config, save_adapter
from shared.contracts.training import LoraSettings
from tests.fixtures.training import spec_of

_BLOCKS = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "head_dim": 16}


@pytest.fixture
def tiny_ministral(tmp_path: Path) -> Path:
    """A Ministral 3 in miniature, its image encoder included; its weights are random."""
    text = {"model_type": "ministral3", "vocab_size": 100, "num_hidden_layers": 2, "num_key_value_heads": 2, **_BLOCKS}
    vision = {"model_type": "pixtral", "num_hidden_layers": 1, "image_size": 28, "patch_size": 14, **_BLOCKS}
    model = Mistral3ForConditionalGeneration(Mistral3Config(text_config=text, vision_config=vision))
    model.to(torch.bfloat16).save_pretrained(tmp_path / "tiny")
    return tmp_path / "tiny"


def test_of_a_ministral_only_the_text_model_is_adapted(tiny_ministral: Path, tmp_path: Path) -> None:
    spec = spec_of(tiny_ministral, lora=LoraSettings(rank=16, alpha=32))
    base = load_model(spec)
    save_adapter(get_peft_model(base, lora_config(spec, base)), "ministral-3b-instruct", tmp_path / "adapter")

    with safe_open(tmp_path / "adapter" / "adapter_model.safetensors", "numpy") as tensors:
        adapted = {name.removesuffix(".weight").rpartition(".")[0] for name in tensors.keys()}  # noqa: SIM118
    # The names that vLLM's Mistral3ForConditionalGeneration maps to its own.
    assert len(adapted) == 2 * len(TARGETS)
    assert all(name.startswith("base_model.model.model.language_model.layers.") for name in adapted)
    assert {name.rpartition(".")[2] for name in adapted} == set(TARGETS)


def test_sequences_in_one_row_of_a_ministral_do_not_see_each_other(tiny_ministral: Path) -> None:
    model = load_model(spec_of(tiny_ministral)).eval()
    sequences = [TokenSequence(tokens=[seed, 7, 8, 9], labels=[IGNORED, IGNORED, 8, 9], replies=1) for seed in (1, 2, 3)]

    with torch.inference_mode():
        [together] = [float(reply_loss(model, row.tensors())) for row in rows(sequences, 100)]
        apart = [float(reply_loss(model, row.tensors())) for row in rows(sequences, 1)]

    assert len(apart) == 3
    assert together == pytest.approx(sum(apart), rel=1e-4)


def test_an_adapter_takes_the_place_of_one_that_was_written_before(tiny_ministral: Path, tmp_path: Path) -> None:
    spec = spec_of(tiny_ministral)
    base = load_model(spec)
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "half").write_text("a run that was killed after it had written")

    save_adapter(get_peft_model(base, lora_config(spec, base)), "tiny", tmp_path / "adapter")

    assert {path.name for path in (tmp_path / "adapter").iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".adapter")]


def test_nobody_else_on_the_machine_can_read_an_adapter(tiny_ministral: Path, tmp_path: Path) -> None:
    spec = spec_of(tiny_ministral)
    base = load_model(spec)

    save_adapter(get_peft_model(base, lora_config(spec, base)), "tiny", tmp_path / "adapter")

    assert (tmp_path / "adapter").stat().st_mode & 0o077 == 0


def test_damaged_weights_are_said(tiny_ministral: Path) -> None:
    weights = tiny_ministral / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(TrainingFailed, match=r"The model smollm2-135m-instruct could not be loaded; its files are missing or damaged\."):
        load_model(spec_of(tiny_ministral))
