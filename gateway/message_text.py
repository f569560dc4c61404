"""When a text says something: the one rule for what is synced, drafted, edited, learnt and shown."""

import unicodedata
from typing import Literal

ATTACHMENT_MARK = "\ufffc"
"""What iMessage puts into a text where an attachment sits (U+FFFC OBJECT REPLACEMENT CHARACTER)."""

# Space, control and format characters (zero-width ones, U+FEFF), halves of characters, and marks, which sit on a character or show nothing.
_UNSEEN_CATEGORIES = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Mc", "Me"))
# By their categories letters and symbols: the fillers of Hangul, Braille's blank, and what stands for an attachment or a lost character.
_UNSEEN = frozenset(("\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", ATTACHMENT_MARK, "\ufffd"))
_AT_ONCE, _MOST_MARKS = 100, 30  # characters; Unicode's stream-safe text has at most 30 marks on one (UAX #15)


def shown(text: str | None) -> str:
    """What a text says: without the marks of attachments and the space around it; empty if nothing of it shows.

    A lone emoji says something. Marks, variation selectors and joiners without a character to sit on do not.
    """
    trimmed = (text or "").replace(ATTACHMENT_MARK, "").strip()
    return trimmed if any(map(_shows, trimmed)) else ""


def is_blank(text: str | None) -> bool:
    """Whether a text says nothing."""
    return not shown(text)


def same_words(one: str, other: str) -> bool:
    """Whether two texts differ in nothing but white space."""
    return one.split() == other.split()


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


def _shows(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":  # emoji that are newer than Python's tables, and code points that never will be characters
        code = ord(character)
        return not (code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xE0000 <= code <= 0xE0FFF or 0xFFF0 <= code <= 0xFFF8)
    return category not in _UNSEEN_CATEGORIES and character not in _UNSEEN
