"""When a text says something: the one rule for what is synced, drafted, edited, learnt and shown."""

import unicodedata

ATTACHMENT_MARK = "\ufffc"
"""What iMessage puts into a text where an attachment sits (U+FFFC OBJECT REPLACEMENT CHARACTER)."""

# Space, control and format characters (zero-width ones, U+FEFF), halves of characters, and marks, which sit on a character or show nothing.
_UNSEEN_CATEGORIES = frozenset(("Zs", "Zl", "Zp", "Cc", "Cf", "Cs", "Mn", "Mc", "Me"))
# By their categories letters and symbols: the fillers of Hangul, Braille's blank, and what stands for an attachment or a lost character.
_UNSEEN = frozenset(("\u115f", "\u1160", "\u3164", "\uffa0", "\u2800", ATTACHMENT_MARK, "\ufffd"))


def shown(text: str | None) -> str:
    """What a text says: without the marks of attachments and the space around it; empty if nothing of it shows.

    A lone emoji says something. Marks, variation selectors and joiners without a character to sit on do not.
    """
    trimmed = (text or "").replace(ATTACHMENT_MARK, "").strip()
    return trimmed if any(map(_shows, trimmed)) else ""


def is_blank(text: str | None) -> bool:
    """Whether a text says nothing."""
    return not shown(text)


def is_pictorial(character: str) -> bool:
    """Whether a character is an emoji or another symbol that is a picture; one that is newer than Python's tables counts as one."""
    return unicodedata.category(character) in ("So", "Cn", "Co")


def _shows(character: str) -> bool:
    category = unicodedata.category(character)
    if category == "Cn":  # emoji that are newer than Python's tables, and code points that never will be characters
        code = ord(character)
        return not (code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xE0000 <= code <= 0xE0FFF or 0xFFF0 <= code <= 0xFFF8)
    return category not in _UNSEEN_CATEGORIES and character not in _UNSEEN
