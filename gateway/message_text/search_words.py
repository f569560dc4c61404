"""How messages are found: the words of a text as PostgreSQL's `tsvector`, and what somebody looks for as its `tsquery`.

PostgreSQL's own parser depends on the database's locale and needs spaces between words, so the words are made here, of both sides alike:

- Text is compared in Unicode's NFKC and without regard to case: "étude" is found however its accent is written.
- A word is a run of letters and digits with the marks on them; an emoji is a word of its own.
- Of scripts that are written without spaces (Chinese, Japanese, Thai, …), and of Korean, whose words carry their endings, each pair of
  neighbouring characters is a word: any part of a text is found by its pairs, one after the other.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice

from gateway.message_text.blank import is_pictorial
from gateway.message_text.comparing import folded
from shared.errors import BadRequest

# Thai, Lao; Myanmar; Hangul; Khmer; Tai Tham; Han, Kana, Bopomofo, Yi; half-width forms; the planes of more Kana and Han.
_WITHOUT_SPACES = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\u2e80-\u2fff\u3005-\u3007\u3021-\u3029\u3031-\u3035"
    "\u303b\u3040-\u30fa\u30fc-\u318f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\ua4cf\ua960-\ua97f\ua9e0-\ua9ff\uaa60-\uaa7f\uac00-\ud7ff"
    "\uf900-\ufaff\uff66-\uffdc\U0001b000-\U0001b16f\U00020000-\U0003ffff"
)
_PIECE = re.compile(rf"([{_WITHOUT_SPACES}]+)|([^\W{_WITHOUT_SPACES}]+)|([^\w\s])")
_RUN, _WORD = 1, 2
# What is between spaces or quotation marks; the last one may be missing.
_TYPED = re.compile(r"""(?P<minus>-?)(?:"(?P<quoted>[^"]*)"?|(?P<plain>[^\s"]+))""")
_ASCII_WORD = re.compile(r"[a-z0-9_]+")
_LONGEST_WORD = 200  # characters; PostgreSQL takes 2,046 bytes
_LAST_POSITION = 16_383  # PostgreSQL counts no further; what comes later in a text is not found


def search_document(text: str | None) -> str | None:
    """A text's words and their positions, as a `tsvector` is written; None if it has none."""
    words = islice(_words(text or ""), _LAST_POSITION)  # PostgreSQL joins repetitions
    return " ".join([f"'{word[:_LONGEST_WORD]}':{position}" for position, word in enumerate(words, 1)]) or None


def search_query(words: str) -> str | None:
    """What somebody typed as a `tsquery` is written; None if there is no word in it, so that nothing can be found.

    All words have to be there, in any order. `"Quotes"` make a phrase, `or` means either side, a leading `-` leaves out.

    Raises:
        BadRequest: it only says what to leave out, or one side of an `or` does.
    """
    alternatives: list[str] = []
    for group in _groups(words):
        wanted = [term for term, is_left_out in group if not is_left_out]
        if not wanted:
            raise BadRequest.field("q", "says only what to leave out; add a word to look for")
        alternatives.append(" & ".join(f"!({term})" if is_left_out else f"({term})" for term, is_left_out in group))
    return " | ".join(f"({alternative})" for alternative in alternatives) or None


def _words(text: str) -> Iterable[str]:
    """The words of a text as they are stored."""
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return (word for run, has_spaces in _runs(text) for word in ([run] if has_spaces else _pairs(run)))


def _pairs(run: str) -> list[str]:
    return [run[place : place + 2] for place in range(len(run))]


def _runs(text: str) -> Iterator[tuple[str, bool]]:
    """The words and emoji of a text, each with True, and its runs of characters without spaces, with False; in the spelling compared."""
    word, end = "", -1
    for match in _PIECE.finditer(folded(text)):
        piece, kind, start = match[0], match.lastindex, match.start()
        is_mark = kind not in (_RUN, _WORD) and unicodedata.category(piece)[0] == "M"
        if word and start == end and (is_mark or (kind == _WORD and unicodedata.category(word[-1])[0] == "M")):
            word, end = (word + piece)[:_LONGEST_WORD], match.end()
            continue
        if word:
            yield word, True
        word, end = (piece[:_LONGEST_WORD] if kind == _WORD else ""), match.end()
        if kind == _RUN:
            yield piece, False
        elif kind != _WORD and is_pictorial(piece):
            yield piece, True
    if word:
        yield word, True


def _groups(words: str) -> Iterator[list[tuple[str, bool]]]:
    """The sides of each `or`: terms that have to be there together, each with whether it is left out. Sides without terms are dropped."""
    group: list[tuple[str, bool]] = []
    pieces = list(_TYPED.finditer(words))
    for place, piece in enumerate(pieces):
        if piece[0].lower() == "or" and 0 < place < len(pieces) - 1:
            if group:
                yield group
            group = []
        elif term := _term(piece["quoted"] or piece["plain"] or ""):
            group.append((term, piece["minus"] != ""))
    if group:
        yield group


def _term(text: str) -> str:
    """A piece as a `tsquery` is written: its words, one right after the other; empty if it has none."""
    written, position, before = "", 1, 0
    for run, has_spaces in _runs(text):
        is_single = not has_spaces and len(run) == 1  # stored with the character after it, if there is one
        words = [run] if has_spaces or is_single else _pairs(run)[:-1]
        for place, word in enumerate(words, position):
            written += (f" <{place - before}> " if written else "") + f"'{word}'" + (":*" if is_single else "")
            before = place
        position += 1 if has_spaces else len(run)
    return written
