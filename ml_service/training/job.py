"""One job from its folder to its result."""

import os
from pathlib import Path
from typing import Any

import datasets
import transformers
from msgspec.structs import replace
from transformers import AutoTokenizer

from ml_service.models.prompts import ChatTemplateRenderer, UnsupportedTokenizer
from ml_service.training import dpo, sft
from ml_service.training.dataset import longest, read_examples, split_by_time
from ml_service.training.evaluate import evaluate
from ml_service.training.failures import TrainingFailed
from ml_service.training.loop import TRAINING_SHARE
from ml_service.training.lora import model_size, save_adapter
from ml_service.training.memory import free_mib, peak_mib, row_tokens_for
from ml_service.training.spec import ADAPTER, SAMPLES, Progress, Reporter, TrainingSpec
from ml_service.training.stretches import STRETCH_TOKENS

RECIPES = {"sft": sft.train, "dpo": dpo.train}


def run(spec: TrainingSpec, folder: Path, reporter: Reporter) -> Progress | None:
    """Train, evaluate and save; returns the last word, None in every process but the first, where several train together.

    Raises:
        TrainingFailed: with the reason.
    """
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    datasets.disable_progress_bars()
    tokenizer, renderer = _load(spec)
    split = split_by_time(read_examples(folder / SAMPLES, renderer, method=spec.method, max_length=spec.max_length), spec.eval_fraction)
    reporter.report(train_samples=len(split.train), eval_samples=len(split.held_out))
    row_tokens = row_tokens_for(model_size(spec), free_mib(), max(longest(split.train), STRETCH_TOKENS))
    model = RECIPES[spec.method](spec, folder, split.train, tokenizer, renderer, row_tokens, reporter)
    if os.environ.get("RANK", "0") != "0":
        return None
    reporter.report(status="evaluating", progress=TRAINING_SHARE)
    evaluated = evaluate(model, tokenizer, renderer, split.held_out, reporter, spec=spec)
    save_adapter(model, spec.base_model, folder / ADAPTER)
    return replace(evaluated, status="completed", progress=100.0, peak_memory_mib=peak_mib())


def _load(spec: TrainingSpec) -> tuple[Any, ChatTemplateRenderer]:
    """The tokenizer, and the renderer that drafts are rendered with."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(spec.checkpoint, revision=spec.revision, mistral_format=False)
        renderer = ChatTemplateRenderer(tokenizer)
    except (OSError, ValueError, UnsupportedTokenizer) as error:
        raise TrainingFailed(f"The tokenizer of {spec.base_model} could not be loaded; its files are missing or damaged.") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer, renderer
