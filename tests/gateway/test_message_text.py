import unicodedata

import pytest

from gateway.message_text import is_blank, normalized, same_words, shown


@pytest.mark.parametrize(
    "text",
    [
        None, "", " \t\r\n", "\u00a0\u2003", "\u200b\ufeff", "\u2060\u200d", "\ufffc", "\ufffd", " \ufffc\ufffd ",
        "\u0301", "\ufe0f", "\u20dd\ufe0e",
        "\u2800", "\u3164", "\u115f\u1160", "\u202a\u202c", "\u00ad", "\x00\x1b", "\uffff", "\U000e0001",
    ],
)  # fmt: skip
def test_what_does_not_show_is_blank(text: str | None) -> None:
    assert is_blank(text)
    assert shown(text) == ""


@pytest.mark.parametrize("text", ["a", "?", "👍", "❤️", "1️⃣", "👩‍👩‍👧", "\U0001fae9", "e\u0301", "नी", "饭", "…", "\uf8ff", "🇩🇪"])
def test_what_shows_is_text(text: str) -> None:
    assert not is_blank(text)
    assert shown(f"\ufffc {text}\n") == text


def test_two_texts_are_the_same_words_whatever_the_space_is() -> None:
    assert same_words("see you\nthen ", " see  you then")
    assert not same_words("see you", "seeyou")


@pytest.mark.parametrize("form", ["NFC", "NFKC"])
def test_a_long_text_is_normalized_as_a_short_one_is(form: str) -> None:
    text = "de\u0301ja\u0300 ﬁ " * 200

    assert normalized(form, text) == unicodedata.normalize(form, text)  # type: ignore[arg-type]


def test_a_text_of_marks_only_takes_no_longer_than_its_length() -> None:
    """Unicode's way to order marks looks at each once more for every other one; the pieces bound that."""
    marks = "a" + "\u0301\u0316" * 50_000

    assert len(normalized("NFC", marks)) > 99_000
