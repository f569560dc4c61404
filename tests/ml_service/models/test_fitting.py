"""What is left of a prompt that is longer than there is room for."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from ml_service.engine.scripted_engine import ScriptedRenderer
from ml_service.models.fitting import CHARACTERS_PER_TOKEN, Fitted, PromptTooLong, fit_text, fit_turns
from ml_service.models.number_format import CPU_STEP_TOKENS
from ml_service.models.prompts import ChatTemplateRenderer
from shared.contracts.generation import Turn

SYSTEM = Turn(role="system", content="s" * 10)
LONG = [SYSTEM, *(Turn(role="assistant" if index % 2 else "user", content=str(index) * 10) for index in range(8))]
"""Each turn is 12 scripted tokens, and the answer's beginning is one: 109 in all."""


class TestFitting:
    renderer = ScriptedRenderer()

    def test_what_fits_is_left_alone(self) -> None:
        assert fit_turns(self.renderer, LONG, 109, drop_oldest=True).dropped == 0

    def test_what_does_not_fit_is_refused_and_says_by_how_much(self) -> None:
        with pytest.raises(PromptTooLong, match="109 tokens, 9 more than the 100"):
            fit_turns(self.renderer, LONG, 100, drop_oldest=False)

    @pytest.mark.parametrize(("limit", "dropped"), [(108, 1), (97, 1), (96, 2), (25, 7)])
    def test_the_fewest_of_the_oldest_are_dropped(self, limit: int, dropped: int) -> None:
        fitted = fit_turns(self.renderer, LONG, limit, drop_oldest=True)
        assert fitted.dropped == dropped
        assert fitted.tokens == self.renderer.turns([SYSTEM, *LONG[1 + dropped :]])

    def test_the_last_turn_may_lose_its_beginning(self) -> None:
        turns = [SYSTEM, LONG[1], Turn(role="user", content="beginning and end")]
        fitted = fit_turns(self.renderer, turns, 22, drop_oldest=True, cut_last=True)
        assert fitted.dropped == 1
        assert fitted.tokens == self.renderer.turns([SYSTEM, Turn(role="user", content="and end")])

    def test_but_not_for_system_turns_that_leave_no_room(self) -> None:
        with pytest.raises(PromptTooLong, match="more than the 10"):
            fit_turns(self.renderer, [SYSTEM, LONG[1]], 10, drop_oldest=True, cut_last=True)

    def test_the_system_turn_and_the_last_turn_are_never_dropped(self) -> None:
        with pytest.raises(PromptTooLong, match="25 tokens, 1 more"):
            fit_turns(self.renderer, LONG, 24, drop_oldest=True)


class FrugalRenderer(ScriptedRenderer):
    """A token for each turn, whatever it says, and never asked about more characters than may fit."""

    def __init__(self, limit: int) -> None:
        self._most = limit * CHARACTERS_PER_TOKEN

    def text(self, prompt: str) -> list[int]:
        assert len(prompt) <= self._most
        return [0]

    def turns(self, turns: Sequence[Turn], *, answer_follows: bool = True) -> list[int]:
        assert sum(len(turn.content) for turn in turns) <= self._most
        return [0] * len(turns)


class TestCharacters:
    """What is cut before anything is tokenised: ten characters a token, and ten for what the template puts around a turn."""

    @pytest.mark.parametrize(("limit", "dropped"), [(18, 0), (16, 1), (15, 2)])
    def test_the_oldest_go_and_the_system_turn_stays(self, limit: int, dropped: int) -> None:
        fitted = fit_turns(FrugalRenderer(limit), LONG, limit, drop_oldest=True)
        assert fitted == Fitted([0] * (9 - dropped), dropped)

    def test_nothing_older_stays_than_what_was_dropped(self) -> None:
        turns = [Turn(role="user", content="short"), Turn(role="user", content="l" * 100), Turn(role="user", content="last")]
        assert fit_turns(FrugalRenderer(10), turns, 10, drop_oldest=True).dropped == 2

    def test_of_a_long_last_turn_the_end_stays(self) -> None:
        turns = [SYSTEM, LONG[1], Turn(role="user", content="a" * 100 + "b" * 70)]
        seen: list[str] = []

        class Noting(FrugalRenderer):
            def turns(self, turns: Sequence[Turn], *, answer_follows: bool = True) -> list[int]:
                seen.append(turns[-1].content)
                return super().turns(turns)

        assert fit_turns(Noting(10), turns, 10, drop_oldest=True, cut_last=True).dropped == 1
        assert seen[-1] == "b" * 70

    def test_system_turns_that_leave_no_room_are_refused(self) -> None:
        with pytest.raises(PromptTooLong, match="characters"):
            fit_turns(FrugalRenderer(10), [Turn(role="system", content="s" * 100), LONG[1]], 10, drop_oldest=True, cut_last=True)

    def test_what_is_not_to_be_cut_is_refused(self) -> None:
        assert fit_text(FrugalRenderer(10), "a" * 100, 10).tokens
        with pytest.raises(PromptTooLong, match="101 characters, more than the 100"):
            fit_text(FrugalRenderer(10), "a" * 101, 10)
        with pytest.raises(PromptTooLong, match="characters"):
            fit_turns(FrugalRenderer(10), LONG, 10, drop_oldest=False)


@pytest.mark.parametrize(
    "text",
    ["word and more ", "Straßenbahnhaltestelle ", "你好，今天晚上一起吃饭吗？", "🎉👨‍👩‍👧 ", "a" * 1000, "\n \t", "ทดสอบ"],  # noqa: RUF001
)
def test_a_message_of_20000_characters_becomes_a_prompt_of_one_step(smollm2: Path, text: str) -> None:
    renderer = ChatTemplateRenderer.load(str(smollm2))
    message = (text * 20_000)[:20_000]
    turns = [Turn(role="system", content="You write as Ana."), *LONG[1:], Turn(role="user", content=message)]

    fitted = fit_turns(renderer, turns, CPU_STEP_TOKENS["float32"], drop_oldest=True, cut_last=True)

    assert 100 < len(fitted.tokens) <= CPU_STEP_TOKENS["float32"]
    assert fitted.dropped <= len(LONG)


def test_millions_of_characters_are_cut_without_being_read_by_the_tokenizer() -> None:
    turns = [Turn(role="user", content="x y " * 10_000) for _ in range(100)]

    fitted = fit_turns(FrugalRenderer(8192), turns, 8192, drop_oldest=True, cut_last=True)

    assert (len(fitted.tokens), fitted.dropped) == (2, 98)
