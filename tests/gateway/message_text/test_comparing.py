import unicodedata

import pytest

from gateway.message_text.comparing import folded, normalized, same_words


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


@pytest.mark.parametrize(("one", "other"), [("ÉTUDE", "e\u0301tude"), ("Straße", "STRASSE"), ("ﾗｰﾒﾝ", "ラーメン"), ("Me", "me")])
def test_case_and_the_way_to_write_an_accent_do_not_matter(one: str, other: str) -> None:
    assert folded(one) == folded(other)
