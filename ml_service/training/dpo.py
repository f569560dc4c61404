"""Direct preference optimisation: learn to prefer what the owner says to what the owner would not say.

The loss is DPO's (https://arxiv.org/abs/2305.18290) plus the chosen reply's own loss, as in iterative reasoning preference optimisation
(https://arxiv.org/abs/2404.19733): the former alone is content when both replies become unlikely, as long as the rejected one does more.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from trl import DPOConfig, DPOTrainer

from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training import loop
from ml_service.training.dataset import Example, lessons, longest
from ml_service.training.lora import load_model, lora_config
from ml_service.training.spec import Reporter, TrainingSpec


def train(
    spec: TrainingSpec,
    folder: Path,
    examples: Sequence[Example],
    tokenizer: Any,
    _renderer: ChatTemplateRenderer,
    row_tokens: int,
    reporter: Reporter,
) -> PeftModel:
    """Train an adapter on the base model, going on where an earlier run in the same folder was killed.

    Raises:
        TrainingFailed: the model cannot be loaded, or the loss is no longer a number.
    """
    order = [index for due in lessons([example.quality for example in examples], spec.epochs, spec.seed) for index in due]
    pairs = [{"prompt_ids": example.prompt, "chosen_ids": example.reply, "rejected_ids": example.rejected} for example in examples]
    model = load_model(spec)
    config = DPOConfig(
        **loop.arguments(spec, folder, len(order), accumulated=loop.BATCH_SIZE),  # memory for one pair at a time
        # A pair is computed at once, with the adapter and without.
        gradient_checkpointing=2 * longest(examples) > row_tokens,
        gradient_checkpointing_kwargs={"use_reentrant": False},
        loss_type=["sigmoid", "sft"],
        loss_weights=[1.0, 1.0],
        beta=0.1,
        disable_dropout=False,  # as the job says
    )
    trainer = _PairTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(pairs).select(order),
        processing_class=tokenizer,
        peft_config=lora_config(spec, model),
    )
    loop.run(trainer, spec, folder, reporter)
    return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


class _PairTrainer(DPOTrainer):  # type: ignore[misc]
    """TRL's trainer, given token ids instead of texts."""

    def _prepare_dataset(self, dataset: Dataset, *_: Any) -> Dataset:
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, torch.Tensor], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        return loop.checked(super().compute_loss(model, inputs, return_outputs, num_items_in_batch))
