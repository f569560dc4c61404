"""When two texts are the same: the one spelling in which they are compared."""

import unicodedata
from typing import Literal

_AT_ONCE, _MOST_MARKS = 100, 30  # characters; Unicode's stream-safe text has at most 30 marks on one (UAX #15)


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in nothing but white space."""
    return one.split() == other.split()


def folded(text: str) -> str:
    """A text as it is compared where neither case nor the way to write an accent matters: Unicode's NFKC, case folded."""
    if text.isascii():
        return text.lower()
    return normalized("NFKC", normalized("NFKC", text).casefold())


def normalized(form: Literal["NFC", "NFKC"], text: str) -> str:
    """A text in one of Unicode's forms, made piece by piece: to put marks in order takes Python the square of how many there are."""
    if len(text) <= _AT_ONCE:
        return unicodedata.normalize(form, text)
    pieces: list[str] = []
    start = 0
    while start < len(text):
        end = start + _AT_ONCE
        while end < start + _AT_ONCE + _MOST_MARKS and unicodedata.combining(text[end : end + 1] or " "):  # a mark stays with its character
            end += 1
        pieces.append(unicodedata.normalize(form, text[start:end]))
        start = end
    return "".join(pieces)
