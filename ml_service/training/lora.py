"""The model and its adapter: loading, the shape that vLLM serves, and writing it down."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForImageTextToText

from ml_service.training.failures import FULL_DISK, OUT_OF_MEMORY, TrainingFailed, sentence
from ml_service.training.memory import ModelSize
from ml_service.training.spec import TrainingSpec

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
"""Every linear layer of a Llama's or a Ministral's blocks, by the names that vLLM knows too."""
UNREADABLE = (OSError, ValueError, RuntimeError, KeyError, SafetensorError)
"""What transformers and PEFT raise about files that are missing, damaged or of another model."""


def precision(spec: TrainingSpec) -> torch.dtype:
    """What is computed in: bfloat16 on a GPU that has it, else what the job says."""
    if torch.cuda.is_available():
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if spec.cpu_number_format == "bfloat16" else torch.float32


def model_size(spec: TrainingSpec) -> ModelSize:
    """What is known of the base model before its weights are read.

    Raises:
        TrainingFailed: its configuration cannot be read.
    """
    with _readable(spec):
        config = AutoConfig.from_pretrained(spec.checkpoint, revision=spec.revision)
        with torch.device("meta"):  # layers without memory
            parameters = sum(parameter.numel() for parameter in _loader(config).from_config(config).parameters())
    text = config.get_text_config()
    return ModelSize(
        parameters=parameters,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        vocabulary=text.vocab_size,
        bytes_per_weight=precision(spec).itemsize,
    )


def load_model(spec: TrainingSpec) -> Any:
    """The base model in the precision that this machine trains in.

    Raises:
        TrainingFailed: it cannot be loaded.
    """
    with _readable(spec):
        config = AutoConfig.from_pretrained(spec.checkpoint, revision=spec.revision)
        return _loader(config).from_pretrained(spec.checkpoint, revision=spec.revision, dtype=precision(spec))


def lora_config(spec: TrainingSpec, model: Any) -> LoraConfig:
    """The adapter's shape: plain LoRA on the text model's linear layers, as vLLM serves it."""
    return LoraConfig(
        r=spec.lora.rank,
        lora_alpha=spec.lora.alpha,
        lora_dropout=spec.lora.dropout,
        target_modules=TARGETS,
        # The image encoder of a Ministral has layers of the same names, and is not served.
        exclude_modules=r".*vision.*" if _sees(model.config) else None,
        bias="none",
        task_type="CAUSAL_LM",
    )


def save_adapter(model: PeftModel, base_model: str, folder: Path) -> None:
    """Write the adapter's two files into `folder`, which appears complete or not at all. No path of this machine is in them."""
    model.peft_config["default"].base_model_name_or_path = base_model
    working = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        # "auto" would ask the hub about a model of that name.
        model.save_pretrained(str(working), selected_adapters=["default"], save_embedding_layers=False)
        (working / "README.md").unlink(missing_ok=True)  # a model card, with paths
        if folder.exists():  # of a run that was killed between this and its last word
            shutil.rmtree(folder)
        working.rename(folder)
    finally:
        shutil.rmtree(working, ignore_errors=True)


@contextmanager
def _readable(spec: TrainingSpec) -> Iterator[None]:
    try:
        yield
    except UNREADABLE as error:
        if sentence(error) in (OUT_OF_MEMORY, FULL_DISK):
            raise
        raise TrainingFailed(f"The model {spec.base_model} could not be loaded; its files are missing or damaged.") from error


def _loader(config: Any) -> Any:
    return AutoModelForImageTextToText if _sees(config) else AutoModelForCausalLM


def _sees(config: Any) -> bool:
    """Whether the model has an image encoder."""
    return hasattr(config, "vision_config")
