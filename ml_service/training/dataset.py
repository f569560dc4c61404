"""From the job's file of samples to token ids: prompts exactly as drafts are rendered, replies as the model would write them.

The prompt of a sample is what the serving renderer makes of its turns, control tokens in texts being text. Where prompt and reply together
are longer than `max_length`, the oldest turns are dropped, never system turns and never the last one; a sample whose last turn and reply
are too long even alone is left out, for half a reply would teach the model to stop in the middle.
"""

import math
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ml_service.models.fitting import PromptTooLong, fit_turns
from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training.failures import TrainingFailed
from shared.contracts.generation import Turn
from shared.contracts.training import FEWEST_COMPARED, TrainingMethod, TrainingSample
from shared.errors import BadRequest

MOST_HELD_OUT = 64
_MISSING = re.compile(r"missing required field `(\w+)`")
_PATH = re.compile(r"at `\$\.?([^`]*)`")


@dataclass(frozen=True, slots=True)
class Example:
    """A sample as token ids, the reply's end of turn included, and what is shown of it in a comparison."""

    sample_id: str | None
    thread: str | None
    """Of which thread it is a window; None if it stands by itself."""
    turns: list[Turn]
    """What the prompt is made of, as given."""
    message: str
    """The text of the turn that is answered."""
    output: str
    prompt: list[int]
    reply: list[int]
    rejected: list[int] | None
    quality: float
    at: datetime | None

    @property
    def lesson(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """What is learned from it; two samples with the same one are the same."""
        return tuple(self.prompt), tuple(self.reply)


@dataclass(frozen=True, slots=True)
class Split:
    """What is learned from and what is held out; nothing is in both."""

    train: list[Example]
    held_out: list[Example]


def read_examples(path: Path, renderer: ChatTemplateRenderer, *, method: TrainingMethod, max_length: int) -> list[Example]:
    """Read the samples that count: quality above 0, short enough, and for `dpo` with a rejected output.

    Raises:
        TrainingFailed: a sample is corrupt, or none is left.
    """
    samples = _read(path)
    examples = []
    for number, sample in enumerate(samples, start=1):
        if sample.quality > 0 and (method == "sft" or sample.rejected_output is not None):
            example = _example(number, sample, renderer, method, max_length)
            if example is not None:
                examples.append(example)
    if not examples:
        having = "can be learned from" if method == "sft" else "has a rejected output to learn from"
        raise TrainingFailed(
            f"None of the {len(samples)} samples {having}: samples need a quality above 0 and at most {max_length} tokens."
        )
    return examples


def longest(examples: Sequence[Example]) -> int:
    """Tokens of the longest of them, prompt and reply together."""
    return max(len(example.prompt) + max(len(example.reply), len(example.rejected or [])) for example in examples)


def split_by_time(examples: Sequence[Example], fraction: float) -> Split:
    """Hold out the newest share of the examples, at least one and at most `MOST_HELD_OUT`; none of fewer than `FEWEST_COMPARED`.

    Without a time on every example, the last ones given are the newest. What is held out is not learned from: an example that says the
    same as a held-out one is left out of training.

    Raises:
        TrainingFailed: then nothing is left to learn from.
    """
    if len(examples) < FEWEST_COMPARED:
        return Split(train=list(examples), held_out=[])
    ordered = [examples[index] for index in by_time(range(len(examples)), examples)]
    count = min(max(round(len(ordered) * fraction), 1), MOST_HELD_OUT)
    held_out = ordered[-count:]
    kept_apart = {example.lesson for example in held_out}
    train = [example for example in ordered[:-count] if example.lesson not in kept_apart]
    if not train:
        raise TrainingFailed("The samples are all the same; different ones are needed to learn from and to compare with.")
    return Split(train=train, held_out=held_out)


def by_time(indices: Iterable[int], examples: Sequence[Example]) -> list[int]:
    """Examples, as indices, oldest first; in the order given unless all of them have a time."""
    ordered = list(indices)
    if all(examples[index].at is not None for index in ordered):
        ordered.sort(key=lambda index: _time(examples[index]))
    return ordered


def lessons(qualities: Sequence[float], epochs: int, seed: int) -> list[list[int]]:
    """In which order examples are learned from, as indices, epoch by epoch.

    Quality decides how often: the best examples come once an epoch, one of half their quality in every second epoch, and so on. Within
    an epoch the order is random by seed.
    """
    order = random.Random(seed)  # noqa: S311
    best = max(qualities)
    phases = [order.random() for _ in qualities]
    indices: list[list[int]] = []
    for epoch in range(epochs):
        due = [
            index
            for index, (quality, phase) in enumerate(zip(qualities, phases, strict=True))
            if math.floor(phase + (epoch + 1) * quality / best) > math.floor(phase + epoch * quality / best)
        ]
        order.shuffle(due)
        indices.append(due)
    return indices


def _read(path: Path) -> list[TrainingSample]:
    decoder = msgspec.json.Decoder(TrainingSample)
    samples = []
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                samples.append(decoder.decode(line))
            except msgspec.ValidationError as error:
                raise TrainingFailed(f"Sample {number} is corrupt: its field {_field(error)} is missing or not valid.") from None
            except msgspec.DecodeError:
                raise TrainingFailed(f"Sample {number} is corrupt: it is not valid JSON.") from None
    return samples


def _field(error: msgspec.ValidationError) -> str:
    """The field that an error is about; the rest of its message may quote the sample."""
    missing, path = _MISSING.search(str(error)), _PATH.search(str(error))
    return ".".join(part.group(1) for part in (path, missing) if part is not None)


def _example(number: int, sample: TrainingSample, renderer: ChatTemplateRenderer, method: TrainingMethod, limit: int) -> Example | None:
    name = f"Sample {number}" + (f" ({sample.id})" if sample.id else "")
    if not sample.output.strip() or (sample.rejected_output is not None and not sample.rejected_output.strip()):
        raise TrainingFailed(f"{name} is corrupt: its output is empty.")
    turns = sample.messages or [Turn(role="user", content=sample.input or "")]  # it was accepted with one of them
    try:
        reply = renderer.answer(sample.output)
        rejected = renderer.answer(sample.rejected_output) if method == "dpo" and sample.rejected_output is not None else None
        room = limit - max(len(reply), len(rejected or []))
        prompt = fit_turns(renderer, turns, room, drop_oldest=True).tokens
    except PromptTooLong:
        return None
    except BadRequest:
        raise TrainingFailed(f"{name} is corrupt: the model's chat template cannot render its messages.") from None
    return Example(
        sample_id=sample.id, thread=sample.thread, turns=turns, message=turns[-1].content, output=sample.output, prompt=prompt, reply=reply,
        rejected=rejected, quality=sample.quality, at=sample.at,
    )  # fmt: skip


def _time(example: Example) -> datetime:
    at = example.at or datetime.min
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
