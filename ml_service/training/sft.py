"""Supervised fine-tuning: learn to say the owner's replies. The loss is on the replies alone, in nats a token."""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from trl import SFTConfig, SFTTrainer

from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training import loop
from ml_service.training.batches import TokenSequence, reply_loss, rows
from ml_service.training.dataset import Example, lessons
from ml_service.training.lora import load_model, lora_config
from ml_service.training.memory import checkpointing
from ml_service.training.spec import Reporter, TrainingSpec
from ml_service.training.stretches import STRETCH_TOKENS, Stretches


def train(
    spec: TrainingSpec,
    folder: Path,
    examples: Sequence[Example],
    tokenizer: Any,
    renderer: ChatTemplateRenderer,
    row_tokens: int,
    reporter: Reporter,
) -> PeftModel:
    """Train an adapter on the base model, going on where an earlier run in the same folder was killed.

    Raises:
        TrainingFailed: the model cannot be loaded, or the loss is no longer a number.
    """
    model = load_model(spec)
    stretches = Stretches(examples, renderer, min(STRETCH_TOKENS, spec.max_length))
    steps = [rows(step, row_tokens) for step in steps_of(sequences_of(spec, examples, stretches))]
    config = SFTConfig(
        **loop.arguments(spec, folder, len(steps)),
        gradient_checkpointing=False,  # but for long rows, see `_ReplyTrainer`
        dataset_kwargs={"skip_prepare_dataset": True},  # these are steps by their number
    )
    trainer = _ReplyTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_dict({"step": range(len(steps))}),
        data_collator=lambda chosen: {"rows": [row.tensors() for each in chosen for row in steps[each["step"]]]},
        processing_class=tokenizer,
        peft_config=lora_config(spec, model),
        row_tokens=row_tokens,
    )
    loop.run(trainer, spec, folder, reporter)
    return trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


def sequences_of(spec: TrainingSpec, examples: Sequence[Example], stretches: Stretches) -> list[TokenSequence]:
    """What is shown, one after the other, all epochs together. It depends on nothing but the job, so that one which is resumed goes on."""
    order = random.Random(spec.seed)  # noqa: S311
    shown: list[TokenSequence] = []
    for due in lessons([example.quality for example in examples], spec.epochs, spec.seed):
        sequences = stretches.cut(due, order)
        order.shuffle(sequences)
        shown += sequences
    return shown


def steps_of(sequences: Sequence[TokenSequence]) -> list[list[TokenSequence]]:
    """Sequences as optimizer steps of at least `BATCH_SIZE` replies."""
    steps: list[list[TokenSequence]] = [[]]
    for sequence in sequences:
        if sum(each.replies for each in steps[-1]) >= loop.BATCH_SIZE:
            steps.append([])
        steps[-1].append(sequence)
    return steps


class _ReplyTrainer(SFTTrainer):  # type: ignore[misc]
    """TRL's trainer, given whole steps: it goes through a step's rows one by one, and only replies pass through the output layer."""

    def __init__(self, *, row_tokens: int, **options: Any) -> None:
        super().__init__(**options)
        self._row_tokens = row_tokens
        self._checkpointing = checkpointing(self.model)

    def training_step(self, model: Any, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        model.train()
        step = self._prepare_inputs(inputs)["rows"]
        count = sum(row["targets"].numel() for row in step)
        total = torch.zeros((), device=self.args.device)
        for row in step:
            self._checkpointing(row["input_ids"].numel() > self._row_tokens)
            with self.compute_loss_context_manager():
                loss = loop.checked(reply_loss(model, row) / count)
            self.accelerator.backward(loss)
            total += loss.detach()
        return total
