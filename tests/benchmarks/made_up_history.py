"""A thread that nobody wrote, as long as people's are: what trainings are measured on."""

import random
from datetime import UTC, datetime, timedelta

from shared.contracts.generation import Turn
from shared.contracts.training import TrainingSample
from tests.fixtures.training import SYSTEM

WORDS = [
    "tomorrow", "the", "train", "market", "we", "could", "meet", "after", "work", "because", "nobody", "else", "has", "time",
    "for", "cooking", "and", "my", "sister", "wants", "to", "see", "that", "film", "again", "maybe", "bring", "some", "bread",
    "or", "call", "me", "when", "you", "leave", "it", "rained", "all", "day", "here", "but", "the", "garden", "looks", "lovely",
    "how", "was", "your", "week",
]  # fmt: skip
_FIRST = datetime(2026, 1, 5, tzinfo=UTC)


def windows(replies: int, *, turns_before: int, threaded: bool) -> list[TrainingSample]:
    """The replies of one thread, each with so many turns before it: overlapping windows, as an import makes them.

    Messages have 25 tokens in the mean. Not `threaded`, each window is learned by itself.
    """
    drawn = random.Random(11)
    turns = [
        Turn(role="assistant" if number % 2 else "user", content=" ".join(drawn.choices(WORDS, k=drawn.randint(5, 40))))
        for number in range(2 * replies)
    ]
    return [
        TrainingSample(
            messages=[SYSTEM, *turns[max(0, index - turns_before) : index]],
            output=turns[index].content,
            thread="thread" if threaded else None,
            at=_FIRST + timedelta(hours=index),
        )
        for index in range(1, len(turns), 2)
    ]
