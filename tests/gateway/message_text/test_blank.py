import pytest

from gateway.message_text.blank import is_blank, shown


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
