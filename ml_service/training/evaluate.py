"""Is the new adapter better than what is in use? Both are measured on the same held-out replies, and both write a few."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from msgspec.structs import replace
from peft import PeftModel
from transformers import GenerationConfig

from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training.batches import Row, TokenSequence, reply_loss, rows
from ml_service.training.dataset import Example
from ml_service.training.failures import TrainingFailed
from ml_service.training.lora import UNREADABLE, precision
from ml_service.training.spec import Progress, Reporter, TrainingSpec
from ml_service.training.stretches import Stretches
from shared.contracts.training import DraftComparison

ROW_TOKENS = 1024
"""Nothing is kept for a backward pass here, so rows may be long."""
FEWEST_REPLY_TOKENS, MOST_REPLY_TOKENS = 24, 64
"""A written reply may get twice as long as the longest that the owner gave, within these: where there is no GPU each token takes about a
tenth of a second, and a model that rambles shows it in the first sentence."""
_BASELINE = "baseline"


def evaluate(
    model: PeftModel,
    tokenizer: Any,
    renderer: ChatTemplateRenderer,
    held_out: Sequence[Example],
    reporter: Reporter,
    *,
    spec: TrainingSpec,
) -> Progress:
    """Compare the adapter that was just trained with a baseline: another adapter's folder, or else the base model. Returns the reporter's
    state with what came of it.

    Raises:
        TrainingFailed: the baseline adapter cannot be loaded.
    """
    if not held_out:
        return reporter.state
    model.eval()
    shown = held_out[-spec.comparisons :] if spec.comparisons else []
    longest = max((len(example.reply) for example in shown), default=0)
    reply_tokens = min(max(2 * longest, FEWEST_REPLY_TOKENS), MOST_REPLY_TOKENS)
    asked = rows(_asked(held_out, renderer, spec.max_length), ROW_TOKENS)
    with torch.inference_mode(), torch.autocast(model.device.type, dtype=torch.bfloat16, enabled=precision(spec) is torch.bfloat16):
        loss = _mean_loss(model, asked)
        reporter.report(progress=92)
        after = _write(model, tokenizer, renderer.end_of_turn, shown, reply_tokens)
        reporter.report(progress=95)
        with _baseline(model, spec.baseline_adapter):
            baseline_loss = _mean_loss(model, asked)
            reporter.report(progress=97)
            before = _write(model, tokenizer, renderer.end_of_turn, shown, reply_tokens)
            reporter.report(progress=99)
    table = [
        DraftComparison(sample_id=example.sample_id, input=example.message, expected=example.output, before=old, after=new)
        for example, old, new in zip(shown, before, after, strict=True)
    ]
    return replace(reporter.state, eval_loss=loss, baseline_eval_loss=baseline_loss, comparisons=table)


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


def _asked(held_out: Sequence[Example], renderer: ChatTemplateRenderer, max_length: int) -> list[TokenSequence]:
    """Each held-out reply of a thread twice: with the history that there is, and with none, as in a new thread."""
    stretches = Stretches(held_out, renderer, max_length)
    everything, never = range(len(held_out)), random.Random(0)  # noqa: S311
    of_threads = [index for index in everything if held_out[index].thread is not None]
    return [*stretches.cut(everything, never, probability=0), *stretches.cut(of_threads, never, probability=1)]


def _mean_loss(model: PeftModel, asked: Sequence[Row]) -> float:
    total, count = 0.0, 0
    for row in asked:
        total += float(reply_loss(model, {name: values.to(model.device) for name, values in row.tensors().items()}))
        count += len(row.targets)
    return total / count


def _write(model: PeftModel, tokenizer: Any, end_of_turn: int, asked: Sequence[Example], most_tokens: int) -> list[str]:
    """Replies without chance: always the likeliest token. One that is cut off ends in an ellipsis."""
    if not asked:
        return []
    padding = tokenizer.pad_token_id
    config = GenerationConfig(max_new_tokens=most_tokens, do_sample=False, pad_token_id=padding, eos_token_id=end_of_turn)
    prompts = _padded([example.prompt for example in asked], padding)
    inputs: dict[str, Any] = {name: values.to(model.device) for name, values in prompts.items()}
    written = model.generate(**inputs, generation_config=config)[:, inputs["input_ids"].shape[1] :]
    ended = (written == end_of_turn).any(dim=1)
    texts = tokenizer.batch_decode(written, skip_special_tokens=True)
    return [text.strip() + ("" if is_whole else " …") for text, is_whole in zip(texts, ended, strict=True)]


def _padded(prompts: Sequence[Sequence[int]], filler: int) -> dict[str, torch.Tensor]:
    """Prompts of one batch to go on from, padded on the left."""
    width = max(map(len, prompts))
    return {
        "input_ids": torch.tensor([[filler] * (width - len(prompt)) + list(prompt) for prompt in prompts]),
        "attention_mask": torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]),
    }
