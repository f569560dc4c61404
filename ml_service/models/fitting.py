"""Prompts that fit the tokens that there is room for: whole, without the oldest turns, or refused."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ml_service.models.prompts import PromptRenderer
from shared.contracts.generation import Turn
from shared.errors import BadRequest

CHARACTERS_PER_TOKEN: Final = 10
"""More than any language's text has on average: text with more characters than this for each token that there is room for does not fit,
and is not tokenised to see: a million characters would take 3 s."""


class PromptTooLong(BadRequest):
    """A prompt leaves too little room for the answer; the message says by how much."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """A prompt that fits, and how many of its oldest turns were dropped for that."""

    tokens: list[int]
    dropped: int


def fit_text(renderer: PromptRenderer, prompt: str, limit: int) -> Fitted:
    """Render raw text into at most `limit` tokens.

    Raises:
        PromptTooLong: it has more.
    """
    _check_characters("prompt", len(prompt), limit)
    return Fitted(_checked("prompt", renderer.text(prompt), limit), 0)


def fit_turns(renderer: PromptRenderer, turns: Sequence[Turn], limit: int, *, drop_oldest: bool, cut_last: bool = False) -> Fitted:
    """Render turns into at most `limit` tokens.

    With `drop_oldest` the fewest possible of the oldest turns are left out, never system turns and never the last turn. With `cut_last`
    the last turn loses as much of its beginning as is necessary where that is not enough.

    Raises:
        PromptTooLong: it does not fit, even so.
        BadRequest: the model's template refuses the order of the roles.
    """

    def rendered(some: Sequence[Turn]) -> list[int]:
        # What the template puts around a turn counts as one token.
        _check_characters("messages", sum(len(turn.content) + CHARACTERS_PER_TOKEN for turn in some), limit)
        return _checked("messages", renderer.turns(some), limit)

    def fits(some: Sequence[Turn]) -> bool:
        try:
            rendered(some)
        except PromptTooLong:
            return False
        return True

    try:
        return Fitted(rendered(turns), 0)
    except PromptTooLong:
        if not drop_oldest and not cut_last:
            raise
    droppable = [index for index, turn in enumerate(turns[:-1]) if turn.role != "system"] if drop_oldest else []

    def without(count: int) -> list[Turn]:
        dropped = set(droppable[:count])
        return [turn for index, turn in enumerate(turns) if index not in dropped]

    # A prompt gets shorter as more is taken away, so halving finds how much is enough.
    dropped = bisect_left(range(len(droppable)), True, key=lambda count: fits(without(count)))
    *before, last = without(dropped)
    try:
        return Fitted(rendered([*before, last]), dropped)
    except PromptTooLong:
        cut = 0
        if cut_last:
            cut = bisect_left(range(len(last.content)), True, key=lambda start: fits([*before, _from(last, start)]))
        if cut in (0, len(last.content)):
            raise
    return Fitted(rendered([*before, _from(last, cut)]), dropped)


def _from(turn: Turn, start: int) -> Turn:
    return replace(turn, content=turn.content[start:])


def _check_characters(field: str, count: int, limit: int) -> None:
    room = max(limit, 0) * CHARACTERS_PER_TOKEN
    if count > room:
        message = f"{count:,} characters, more than the {room:,} that can fit the model's context window"
        raise PromptTooLong.field(field, message)


def _checked(field: str, tokens: list[int], limit: int) -> list[int]:
    if len(tokens) > limit:
        excess = len(tokens) - limit
        message = f"{len(tokens)} tokens, {excess} more than the {limit} that max_tokens leaves of the model's context window"
        raise PromptTooLong.field(field, message)
    return tokens
