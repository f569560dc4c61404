from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training.dataset import Example, lessons, read_examples, split_by_time
from ml_service.training.failures import TrainingFailed
from shared.contracts.generation import Turn
from shared.contracts.training import TrainingMethod, TrainingSample
from tests.fixtures.training import style_samples

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SECRET = "the safe is behind the mirror"
PADDING = [TrainingSample(input=f"question {number}", output=f"answer {number}") for number in range(4)]


@pytest.fixture(scope="module")
def renderer(smollm2: Path) -> ChatTemplateRenderer:
    return ChatTemplateRenderer.load(str(smollm2))


def examples_of(
    tmp_path: Path, renderer: ChatTemplateRenderer, *samples: TrainingSample, method: TrainingMethod = "sft", max_length: int = 256
) -> list[Example]:
    file = tmp_path / "samples.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples))
    return read_examples(file, renderer, method=method, max_length=max_length)


def refusal_of(tmp_path: Path, renderer: ChatTemplateRenderer, lines: bytes, method: TrainingMethod = "sft") -> str:
    file = tmp_path / "samples.jsonl"
    file.write_bytes(lines)
    with pytest.raises(TrainingFailed) as refusal:
        read_examples(file, renderer, method=method, max_length=256)
    return str(refusal.value)


def test_a_prompt_has_the_tokens_that_the_draft_had(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    turns = [
        Turn(role="system", content="You write as Ana.\n"),
        Turn(role="user", content="  Hi! 🎉 <|im_end|> tonight?"),
        Turn(role="assistant", content="Yes"),
        Turn(role="user", content="When?\n"),
    ]
    example, *others = examples_of(tmp_path, renderer, TrainingSample(messages=turns, output="At 8"), *PADDING)

    assert example.prompt == renderer.turns(turns)
    assert others[0].prompt == renderer.turns([Turn(role="user", content="question 0")])


def test_a_reply_has_the_tokens_that_the_model_would_write(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    example, *_ = examples_of(tmp_path, renderer, TrainingSample(input="When?", output="At 8"), *PADDING)
    turns = [Turn(role="user", content="When?"), Turn(role="assistant", content="At 8")]

    whole = renderer.turns(turns, answer_follows=False)
    assert whole[: len(example.prompt + example.reply)] == example.prompt + example.reply
    assert example.reply[-1] == renderer.end_of_turn
    assert example.reply.count(renderer.end_of_turn) == 1


def test_control_tokens_in_a_reply_are_text(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    example, *_ = examples_of(tmp_path, renderer, TrainingSample(input="?", output="a<|im_end|>b"), *PADDING)
    assert example.reply.index(renderer.end_of_turn) == len(example.reply) - 1


def test_the_oldest_turns_make_room(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    system, last = Turn(role="system", content="You write as Ana."), Turn(role="user", content="When?")
    old = [Turn(role="user", content=f"message {number} " + "word " * 30) for number in range(10)]
    example, *_ = examples_of(tmp_path, renderer, TrainingSample(messages=[system, *old, last], output="At 8"), *PADDING, max_length=128)

    assert len(example.prompt) + len(example.reply) <= 128
    kept = (128 - len(renderer.turns([system, last])) - len(example.reply)) // 36
    assert example.prompt == renderer.turns([system, *old[-kept:], last])


def test_a_sample_that_is_too_long_alone_is_left_out(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    endless = TrainingSample(id="endless", input="?", output="word " * 500)
    assert [example.sample_id for example in examples_of(tmp_path, renderer, endless, *PADDING)] == [None] * 4


def test_the_newest_samples_are_held_out(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    days = [5, 1, 9, 3, 7, 0, 8, 2, 6, 4]
    samples = [
        TrainingSample(id=f"day-{day}", input=f"question {day}", output=f"answer {day}", at=MONDAY + timedelta(days=day)) for day in days
    ]
    split = split_by_time(examples_of(tmp_path, renderer, *samples), 0.2)

    assert [example.sample_id for example in split.held_out] == ["day-8", "day-9"]
    assert len(split.train) == 8


def test_without_times_the_last_ones_given_are_held_out(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    samples = style_samples()
    without = [*samples[1:], replace(samples[0], at=MONDAY)]
    split = split_by_time(examples_of(tmp_path, renderer, *without), 0.01)
    assert [example.sample_id for example in split.held_out] == ["sample-0"]


def test_at_most_64_are_held_out(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    samples = [TrainingSample(input=f"question {number}", output="yes") for number in range(300)]
    assert len(split_by_time(examples_of(tmp_path, renderer, *samples), 0.5).held_out) == 64


def test_what_is_held_out_is_not_learned(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    same = TrainingSample(input="Thanks!", output="np")
    split = split_by_time(examples_of(tmp_path, renderer, same, *PADDING, same, same), 0.1)

    assert [example.output for example in split.held_out] == ["np"]
    assert {example.output for example in split.train} == {"answer 0", "answer 1", "answer 2", "answer 3"}


@pytest.mark.parametrize("count", [1, 3])
def test_of_a_handful_nothing_is_held_out(tmp_path: Path, renderer: ChatTemplateRenderer, count: int) -> None:
    split = split_by_time(examples_of(tmp_path, renderer, *PADDING[:count]), 0.2)

    assert (len(split.train), split.held_out) == (count, [])


def test_samples_that_are_all_the_same_teach_nothing(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    with pytest.raises(TrainingFailed, match="all the same"):
        split_by_time(examples_of(tmp_path, renderer, *[TrainingSample(input="Thanks!", output="np")] * 5), 0.2)


def test_quality_decides_how_often_a_sample_comes() -> None:
    order = [index for due in lessons([1.0, 0.5, 0.25, 1.0], epochs=8, seed=3) for index in due]
    assert [order.count(index) for index in range(4)] == [8, 4, 2, 8]


def test_without_the_best_quality_every_epoch_is_still_whole() -> None:
    assert [sorted(due) for due in lessons([0.4, 0.4, 0.4], epochs=2, seed=3)] == [[0, 1, 2], [0, 1, 2]]


def test_the_order_is_the_seeds() -> None:
    assert lessons([1.0] * 20, epochs=2, seed=3) == lessons([1.0] * 20, epochs=2, seed=3)
    assert lessons([1.0] * 20, epochs=2, seed=3) != lessons([1.0] * 20, epochs=2, seed=4)


def test_quality_0_does_not_count(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    assert len(examples_of(tmp_path, renderer, TrainingSample(input="?", output="no", quality=0), *PADDING)) == 4


def test_dpo_learns_from_pairs_only(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    examples = examples_of(tmp_path, renderer, *PADDING, *style_samples()[:4], method="dpo")
    assert [example.sample_id for example in examples] == ["sample-0", "sample-1", "sample-2", "sample-3"]
    assert examples[0].rejected == renderer.answer("Certainly! I would be delighted to assist you with that.")


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_samples_of_no_use_are_refused(tmp_path: Path, renderer: ChatTemplateRenderer, method: TrainingMethod) -> None:
    lines = b"".join(msgspec.json.encode(replace(sample, quality=0)) + b"\n" for sample in style_samples()[:3])
    assert refusal_of(tmp_path, renderer, lines, method).startswith("None of the 3 samples ")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ({"messages": [{"role": "user", "content": SECRET}]}, "Sample 2 is corrupt: its field output is missing or not valid."),
        ({"input": SECRET, "output": 5}, "Sample 2 is corrupt: its field output is missing or not valid."),
        (
            {"messages": [{"role": SECRET, "content": ""}], "output": "a"},
            "Sample 2 is corrupt: its field messages[0].role is missing or not valid.",
        ),
        ({"id": "s-2", "input": SECRET, "output": " "}, "Sample 2 (s-2) is corrupt: its output is empty."),
        ({"input": SECRET, "output": "a", "quality": "high"}, "Sample 2 is corrupt: its field quality is missing or not valid."),
    ],
)
def test_a_corrupt_sample_is_named_without_its_text(
    tmp_path: Path, renderer: ChatTemplateRenderer, line: dict[str, object], sentence: str
) -> None:
    lines = msgspec.json.encode(PADDING[0]) + b"\n" + msgspec.json.encode(line) + b"\n"
    assert refusal_of(tmp_path, renderer, lines) == sentence


def test_a_truncated_file_is_named_by_its_last_line(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    lines = b"".join(msgspec.json.encode(sample) + b"\n" for sample in PADDING)
    assert refusal_of(tmp_path, renderer, lines[:-9]) == "Sample 4 is corrupt: it is not valid JSON."
