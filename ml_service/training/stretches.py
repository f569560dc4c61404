"""What of a thread's history is shown at once: a stretch of it, with the loss on all of the owner's replies in it.

Samples of a thread are windows that overlap. They are joined to what they are windows of, and that is cut into stretches at random, anew in
each epoch. A stretch is rendered as the prompt of its last reply is, and each reply follows the tokens that a draft's prompt has there
(decision 0018).
"""

import random
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from ml_service.models.fitting import fit_turns
from ml_service.models.prompts import ChatTemplateRenderer
from ml_service.training.batches import IGNORED, TokenSequence
from ml_service.training.dataset import Example, by_time
from shared.contracts.generation import Turn

CUT_PROBABILITY: Final = 0.35
"""How likely a stretch begins at a reply: that share of the replies has no history, the others have that of three replies in the mean."""

STRETCH_TOKENS: Final = 512
"""A history is cut where a stretch would get longer. The same on every machine and at every moment, whatever memory is free: a job that is
resumed must find the steps that it began with."""


@dataclass(frozen=True, slots=True)
class History:
    """A thread's turns as far as windows that overlap show them, and which of them are replies to learn: (turn's index, example's)."""

    system: list[Turn]
    turns: list[Turn]
    replies: list[tuple[int, int]] = field(default_factory=list)


def histories(examples: Sequence[Example]) -> list[History]:
    """Join the windows of each thread; one that overlaps with no earlier one begins a history of its own.

    Samples of no thread are left out.
    """
    threads: defaultdict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        if example.thread is not None:
            threads[example.thread].append(index)
    joined: list[History] = []
    for indices in threads.values():
        current: History | None = None
        for index in by_time(indices, examples):
            example = examples[index]
            system, window = _apart(example.turns)
            known = _overlap(current.turns, window) if current is not None and current.system == system else 0
            if current is None or known == 0:
                current = History(system, [])
                joined.append(current)
            current.turns.extend(window[known:])
            current.replies.append((len(current.turns), index))
            current.turns.append(Turn(role="assistant", content=example.output))
    return joined


class Stretches:
    """Cuts histories into token sequences of at most `max_length` tokens; an example of no thread is a sequence as it is."""

    def __init__(self, examples: Sequence[Example], renderer: ChatTemplateRenderer, max_length: int) -> None:
        self._examples = examples
        self._renderer = renderer
        self._limit = max_length
        self._histories = histories(examples)

    def cut(self, due: Collection[int], order: random.Random, probability: float = CUT_PROBABILITY) -> list[TokenSequence]:
        """Sequences that teach the examples with these indices once each; the others in the same threads are only read.

        `probability` is how likely a stretch begins at a reply: 0 shows as much history as there is and fits, 1 shows none.
        """
        wanted = set(due)
        sequences = [self._alone(index) for index in due if self._examples[index].thread is None]
        for history in self._histories:
            begins = [order.random() < probability for _ in history.replies]
            sequences += self._stretches(history, wanted, begins)
        return sequences

    def _alone(self, index: int) -> TokenSequence:
        example = self._examples[index]
        return TokenSequence(
            tokens=example.prompt + example.reply,
            labels=[IGNORED] * len(example.prompt) + example.reply,
            replies=1,
        )

    def _stretches(self, history: History, due: Collection[int], begins: Sequence[bool]) -> Iterator[TokenSequence]:
        """One history's stretches; those in which nothing is due are left out."""
        tokens: list[int] = []
        labels: list[int] = []
        taught, first = 0, 0
        for (position, index), begin in zip(history.replies, begins, strict=True):
            reply = self._examples[index].reply
            room = self._limit - len(reply)
            prompt = self._renderer.turns([*history.system, *history.turns[first:position]])
            # The rendering of some templates, or of some turns, does not begin with that of fewer turns.
            if begin or len(prompt) > room or prompt[: len(tokens)] != tokens:
                if taught:
                    yield TokenSequence(tokens=tokens, labels=labels, replies=taught)
                tokens, labels, taught = [], [], 0
                first = _question(history.turns, position)
                question = [*history.system, *history.turns[first:position]]
                prompt = fit_turns(self._renderer, question, room, drop_oldest=True).tokens
            labels = [*labels, *[IGNORED] * (len(prompt) - len(tokens)), *(reply if index in due else [IGNORED] * len(reply))]
            tokens = prompt + reply
            taught += index in due
        if taught:
            yield TokenSequence(tokens=tokens, labels=labels, replies=taught)


def _apart(turns: Sequence[Turn]) -> tuple[list[Turn], list[Turn]]:
    """The system turns and the others."""
    return [turn for turn in turns if turn.role == "system"], [turn for turn in turns if turn.role != "system"]


def _question(turns: Sequence[Turn], position: int) -> int:
    """Where that begins which the reply at `position` answers: after the owner's turn before it."""
    first = position
    while first > 0 and turns[first - 1].role != "assistant":
        first -= 1
    return min(first, position - 1)


def _overlap(turns: Sequence[Turn], window: Sequence[Turn]) -> int:
    """With how many of its first turns a window repeats the end of what is known; 0 if it does not.

    A window is cut by messages, so its first turn may be the end of one that is known as a whole.
    """
    for known in range(min(len(turns), len(window)), 0, -1):
        if list(turns[-known + 1 :] if known > 1 else []) == list(window[1:known]) and _ends_with(turns[-known], window[0]):
            return known
    return 0


def _ends_with(whole: Turn, part: Turn) -> bool:
    if whole.role != part.role:
        return False
    if whole.content == part.content or whole.content.endswith("\n" + part.content):
        return True
    name, _, text = part.content.partition(": ")  # in a group a turn is led by its sender's name
    return whole.content.startswith(f"{name}: ") and whole.content.endswith("\n" + text)
