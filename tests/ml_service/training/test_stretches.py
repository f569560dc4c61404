"""What a thread's windows become: the same thread again, cut anew."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training.batches import IGNORED, TokenSequence
from ml_service.training.dataset import Example, read_examples
from ml_service.training.stretches import Stretches, histories
from shared.contracts.generation import Turn
from shared.contracts.training import TrainingSample

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SYSTEM = Turn(role="system", content="You write as Ana.")


@pytest.fixture(scope="module")
def renderer(smollm2: Path) -> ChatTemplateRenderer:
    return ChatTemplateRenderer.load(str(smollm2))


def asked(number: int) -> Turn:
    return Turn(role="user", content=f"question {number}?")


def said(number: int) -> Turn:
    return Turn(role="assistant", content=f"answer {number}")


def thread(replies: int) -> list[Turn]:
    return [turn for number in range(replies) for turn in (asked(number), said(number))]


def windows(turns: list[Turn], turns_before: int, name: str = "thread") -> list[TrainingSample]:
    """Each answer with so many turns before it, as samples of history are."""
    return [
        TrainingSample(
            messages=[SYSTEM, *turns[max(0, index - turns_before) : index]],
            output=turn.content,
            quality=0.75,
            thread=name,
            at=MONDAY + timedelta(hours=index),
        )
        for index, turn in enumerate(turns)
        if turn.role == "assistant"
    ]


def examples_of(tmp_path: Path, renderer: ChatTemplateRenderer, samples: list[TrainingSample]) -> list[Example]:
    file = tmp_path / "samples.jsonl"
    file.write_bytes(b"".join(msgspec.json.encode(sample) + b"\n" for sample in samples))
    return read_examples(file, renderer, method="sft", max_length=1024)


def learned(sequence: TokenSequence) -> list[int]:
    return [label for label in sequence.labels if label != IGNORED]


def test_overlapping_windows_are_joined_to_their_thread(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    [history] = histories(examples_of(tmp_path, renderer, windows(thread(8), turns_before=5)))

    assert history.system == [SYSTEM]
    assert history.turns == thread(8)
    assert [position for position, _ in history.replies] == [1, 3, 5, 7, 9, 11, 13, 15]


def test_samples_that_come_in_any_order_are_joined_by_time(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    samples = windows(thread(8), turns_before=5)
    random.Random(3).shuffle(samples)

    [history] = histories(examples_of(tmp_path, renderer, samples))

    assert history.turns == thread(8)


def test_threads_are_not_mixed(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    samples = [*windows(thread(3), 5, "one"), *windows(thread(3), 5, "other")]

    found = histories(examples_of(tmp_path, renderer, samples))

    assert [history.turns for history in found] == [thread(3), thread(3)]


def test_windows_that_do_not_touch_begin_anew(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    found = histories(examples_of(tmp_path, renderer, windows(thread(3), turns_before=1)))

    assert [history.turns for history in found] == [[asked(number), said(number)] for number in range(3)]


def test_a_window_that_begins_inside_of_a_turn_still_continues(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    first, burst = asked(0), Turn(role="user", content="Sam: one\ntwo\nthree")
    samples = [
        TrainingSample(messages=[SYSTEM, first, said(0), burst], output="four", thread="t", at=MONDAY),
        TrainingSample(
            messages=[SYSTEM, Turn(role="user", content="Sam: two\nthree"), Turn(role="assistant", content="four"), asked(1)],
            output="five",
            thread="t",
            at=MONDAY + timedelta(hours=1),
        ),
    ]

    [history] = histories(examples_of(tmp_path, renderer, samples))

    assert [turn.content for turn in history.turns] == ["question 0?", "answer 0", burst.content, "four", "question 1?", "five"]


def test_every_reply_follows_the_very_tokens_of_a_drafts_prompt(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    turns = thread(12)
    examples = examples_of(tmp_path, renderer, windows(turns, turns_before=7))

    for seed in range(5):
        for sequence in Stretches(examples, renderer, 1024).cut(range(len(examples)), random.Random(seed)):
            starts = {index: renderer.turns([SYSTEM, turns[index]]) for index in range(0, len(turns), 2)}
            begin = next(index for index, start in starts.items() if sequence.tokens[: len(start)] == start)
            for number in range(sequence.replies):
                position = begin + 2 * number + 1
                expected = renderer.turns([SYSTEM, *turns[begin:position]]) + renderer.answer(turns[position].content)
                assert sequence.tokens[: len(expected)] == expected
                reply = renderer.answer(turns[position].content)
                assert sequence.labels[len(expected) - len(reply) : len(expected)] == reply


def test_each_reply_is_learned_once_an_epoch(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    examples = examples_of(tmp_path, renderer, [*windows(thread(12), 7), TrainingSample(input="Hi", output="Hello")])

    sequences = Stretches(examples, renderer, 1024).cut(range(13), random.Random(1))

    assert sum(sequence.replies for sequence in sequences) == 13
    assert sorted(token for sequence in sequences for token in learned(sequence)) == sorted(
        token for each in examples for token in each.reply
    )


def test_histories_have_all_lengths_down_to_none(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    examples = examples_of(tmp_path, renderer, windows(thread(40), 9))
    stretches, order = Stretches(examples, renderer, 1024), random.Random(1)

    lengths = [sequence.replies for _ in range(20) for sequence in stretches.cut(range(40), order)]

    alone = len(lengths) / sum(lengths)  # the first reply of each stretch has no history
    assert 0.3 < alone < 0.4
    assert {1, 2, 3, 4, 5} <= set(lengths)


def test_what_is_not_due_is_read_and_not_learned(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    examples = examples_of(tmp_path, renderer, windows(thread(4), 9))

    [sequence] = Stretches(examples, renderer, 1024).cut([1, 3], random.Random(1), probability=0)

    assert sequence.replies == 2
    assert learned(sequence) == renderer.answer("answer 1") + renderer.answer("answer 3")
    assert sequence.tokens == renderer.turns([SYSTEM, *thread(4)[:-1]]) + renderer.answer("answer 3")


def test_no_stretch_is_longer_than_allowed(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    examples = examples_of(tmp_path, renderer, windows(thread(30), 9))

    sequences = Stretches(examples, renderer, 128).cut(range(30), random.Random(1), probability=0)

    assert max(len(sequence.tokens) for sequence in sequences) <= 128
    assert sum(sequence.replies for sequence in sequences) == 30
    assert len(sequences) > 1


def test_a_sample_of_no_thread_stays_as_it_is(tmp_path: Path, renderer: ChatTemplateRenderer) -> None:
    sample = TrainingSample(messages=[SYSTEM, asked(0), said(0), asked(1)], output="answer 1")
    examples = examples_of(tmp_path, renderer, [sample])

    [sequence] = Stretches(examples, renderer, 1024).cut([0], random.Random(1), probability=1)

    assert sequence.tokens == renderer.turns([SYSTEM, asked(0), said(0), asked(1)]) + renderer.answer("answer 1")
    assert learned(sequence) == renderer.answer("answer 1")
