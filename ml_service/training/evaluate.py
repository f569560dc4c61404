"""Is the new adapter better than what is in use? Both are measured on the same held-out replies, and both write a few."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from transformers import GenerationConfig

from ml_service.training import batches
from ml_service.training.dataset import Example
from ml_service.training.failures import TrainingFailed
from ml_service.training.lora import UNREADABLE, precision
from ml_service.training.progress import Reporter
from shared.contracts.training import DraftComparison

BATCH_SIZE = 8
REPLY_TOKENS = 64
"""How long a written reply may get."""
_BASELINE = "baseline"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Mean losses in nats a token of the held-out replies, None where nothing is held out; and replies before and after."""

    loss: float | None
    baseline_loss: float | None
    comparisons: list[DraftComparison]


def evaluate(
    model: PeftModel,
    tokenizer: Any,
    end_of_turn: int,
    held_out: Sequence[Example],
    reporter: Reporter,
    *,
    baseline_adapter: str | None,
    comparisons: int,
) -> Evaluation:
    """Compare the adapter that was just trained with a baseline: another adapter's folder, or else the base model.

    Raises:
        TrainingFailed: the baseline adapter cannot be loaded.
    """
    if not held_out:
        return Evaluation(loss=None, baseline_loss=None, comparisons=[])
    model.eval()
    shown = held_out[-comparisons:] if comparisons else []
    prompts = [example.prompt for example in shown]
    with torch.inference_mode(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=precision() is torch.bfloat16):
        loss = _mean_loss(model, held_out, tokenizer.pad_token_id)
        reporter.report(progress=92)
        after = _write(model, tokenizer, end_of_turn, prompts)
        reporter.report(progress=95)
        with _baseline(model, baseline_adapter):
            baseline_loss = _mean_loss(model, held_out, tokenizer.pad_token_id)
            reporter.report(progress=97)
            before = _write(model, tokenizer, end_of_turn, prompts)
            reporter.report(progress=99)
    table = [
        DraftComparison(sample_id=example.sample_id, input=example.message, expected=example.output, before=old, after=new)
        for example, old, new in zip(shown, before, after, strict=True)
    ]
    return Evaluation(loss=loss, baseline_loss=baseline_loss, comparisons=table)


@contextmanager
def _baseline(model: PeftModel, adapter: str | None) -> Iterator[None]:
    if adapter is None:
        with model.disable_adapter():
            yield
        return
    try:
        model.load_adapter(adapter, _BASELINE, use_safetensors=True)
    except UNREADABLE as error:
        raise TrainingFailed("The adapter in use could not be loaded to compare with; it is damaged or of another model.") from error
    model.set_adapter(_BASELINE)
    try:
        yield
    finally:
        model.set_adapter("default")
        model.delete_adapter(_BASELINE)


def _mean_loss(model: PeftModel, examples: Sequence[Example], padding: int) -> float:
    rows = sorted((batches.tokens(example.prompt, example.reply) for example in examples), key=lambda row: len(row["input_ids"]))
    total, count = 0.0, 0
    for start in range(0, len(rows), BATCH_SIZE):
        batch = batches.collate(rows[start : start + BATCH_SIZE], padding)
        loss, replied = batches.reply_loss(model, {name: values.to(model.device) for name, values in batch.items()})
        total += float(loss)
        count += replied
    return total / count


def _write(model: PeftModel, tokenizer: Any, end_of_turn: int, prompts: Sequence[list[int]]) -> list[str]:
    """Replies without chance: always the likeliest token."""
    if not prompts:
        return []
    padding = tokenizer.pad_token_id
    batch = batches.collate([batches.tokens(prompt, []) for prompt in prompts], padding)
    config = GenerationConfig(max_new_tokens=REPLY_TOKENS, do_sample=False, pad_token_id=padding, eos_token_id=end_of_turn)
    inputs: dict[str, Any] = {name: batch[name].to(model.device) for name in ("input_ids", "attention_mask")}
    written = model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]
