"""Supervised fine-tuning: learn to say the owner's replies. The loss is on the reply alone, in nats a token."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from trl import SFTConfig, SFTTrainer

from ml_service.training import batches, loop
from ml_service.training.dataset import Example, lessons
from ml_service.training.lora import load_model, lora_config
from ml_service.training.progress import Reporter
from ml_service.training.spec import TrainingSpec


def train(spec: TrainingSpec, folder: Path, examples: Sequence[Example], tokenizer: Any, reporter: Reporter) -> PeftModel:
    """Train an adapter on the base model, going on where an earlier run in the same folder was killed.

    Raises:
        TrainingFailed: the model cannot be loaded, or the loss is no longer a number.
    """
    order = lessons([example.quality for example in examples], spec.epochs, spec.seed)
    rows = Dataset.from_list([batches.tokens(example.prompt, example.reply) for example in examples]).select(order)
    model = load_model(spec)
    config = SFTConfig(
        **loop.arguments(spec, folder, len(order)),
        dataset_kwargs={"skip_prepare_dataset": True},  # these are token ids with labels
    )
    trainer = _ReplyTrainer(
        model=model,
        args=config,
        train_dataset=rows,
        data_collator=partial(batches.collate, padding=tokenizer.pad_token_id),
        processing_class=tokenizer,
        peft_config=lora_config(spec, model),
    )
    loop.run(trainer, spec, folder, reporter)
    return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


class _ReplyTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, which scores the tokens of prompts too on a CPU; here only replies pass through the large output layer."""

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        total, count = batches.reply_loss(model, inputs)
        return loop.checked(total / count)
