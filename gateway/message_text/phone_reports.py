# ruff: noqa: RUF001  # quotation marks of many scripts
"""Tells what phones write from what people write: a text that reports a reaction ("Liked “see you at 8”") or an edit is nobody's words.

A phone sends such a text when the other side cannot show the thing itself. It is known by its form alone, since what it quotes may never
have been synced. All of a text has to be the form, so "Loved the film “Heat”, you too?" is none.

The forms are in `phone_reports.tsv`, a line each, in the languages of Apple's Messages and Google's Messages. `{q}` is what was reacted to:
a text in quotation marks, or one of the language's things; `{e}` is an emoji; `{r}` is a short name of a reaction in quotation marks. A
colon before `{q}` and a full stop at the end may be there or not; apostrophes are written straight, whatever the phone writes. A `thing` is
what a phone writes for a message without a text, where people would not write the same of their own accord.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gateway.message_text.blank import is_blank, is_pictorial
from gateway.message_text.comparing import normalized

_TABLE = Path(__file__).with_name("phone_reports.tsv")

_QUOTATION, _EMOJI, _REACTION = _PLACES = ("{q}", "{e}", "{r}")
# The mark that begins a quotation, and those that may end it. Single marks are written straight by `_plain`.
_CLOSING = {
    "“": "”", "„": "“”\"", "«": "»", "‹": "›", "「": "」", "『": "』", "《": "》", '"': '"', "'": "'", "”": "”", "»": "«", "״": "״",
}  # fmt: skip
_FIRST_EAST_ASIAN = "\u1100"
_NO_EMOJI = frozenset((*_CLOSING, "(", ")"))
_LONGEST_EMOJI = 30  # code points: families and flags are made of many
_LONGEST_REACTION = 30
_FULL_STOPS = ("", ".", "。", "!", "！")
_LONGEST_UNQUOTED = 80  # characters of a report of a thing, with what may be invisible in it
_QUOTATION_MARK = re.compile("[" + "".join({*_CLOSING, *"".join(_CLOSING.values())}) + "‘‚’]")
_MOST_MARKS = 40  # of quotation in a report: what has more is looked at no further
# Zero-width and direction marks, with which Google's Messages and right-to-left phones set off the parts. The joiner of emoji stays.
_LEFT_OUT = dict.fromkeys([0xAD, 0x200B, 0x200C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2060, 0x206A), 0xFEFF])
_STRAIGHT = {ord("’"): "'", ord("‘"): "'", ord("‚"): "'", ord("ʼ"): "'"}
_PLAIN = {**_LEFT_OUT, **_STRAIGHT}


@dataclass(frozen=True, slots=True)
class _Form:
    """A form as its parts, words and places in turn, and what may stand for a quotation in it."""

    parts: tuple[str, ...]
    things: tuple[str, ...]


def is_phone_report(text: str) -> bool:
    """Whether a text is a phone's report of a reaction or an edit, in any language that is known."""
    if _has_marks_of_google(text):
        return True
    if len(text) > _LONGEST_UNQUOTED and not _QUOTATION_MARK.search(text):
        return False
    plain = _plain(text)
    return bool(plain) and any(_fits(form.parts, form.things, plain) for form in _candidates(plain))


def is_wordless(text: str | None, associated_message_type: str | None) -> bool:
    """Whether a message's text is nobody's words: nothing of it shows, it goes with a reaction, or a phone wrote it."""
    return text is not None and (associated_message_type is not None or is_blank(text) or is_phone_report(text))


def emoji_of(text: str) -> str | None:
    """The emoji that a reaction's text is or names, outside of what it quotes."""
    plain = _plain(text)
    opening = next((place for place, character in enumerate(plain) if character in _CLOSING and character != "'"), None)
    if opening is not None:
        end = max(plain.rfind(mark) for mark in _CLOSING[plain[opening]])
        plain = f"{plain[:opening]} {plain[end + 1 :]}"
    plain = plain[:_LONGEST_UNQUOTED]
    places = (place for place in range(len(plain)) if place == 0 or plain[place - 1].isspace() or plain[place - 1].isalpha())
    return next((plain[place:end] for place in places if (end := place + _emoji_length(plain[place:])) > place), None)


def _has_marks_of_google(text: str) -> bool:
    """Google's Messages sets off the report with hair spaces and the emoji with zero-width characters, in every language."""
    return text[:1] == "\u200a" and (text.count("\u200b") >= 2 or text.count("\u200c") >= 2)


def _plain(text: str) -> str:
    """A text in the spelling of the forms: composed, single spaces, straight apostrophes, no invisible marks."""
    spelled = text if text.isascii() else normalized("NFC", text.translate(_PLAIN))
    return " ".join(spelled.split())


def _fits(parts: tuple[str, ...], things: tuple[str, ...], rest: str) -> bool:
    """Whether all of `rest` is these parts; the space between them does not matter."""
    if not parts:
        return rest.strip() in _FULL_STOPS
    part, following, rest = parts[0], parts[1:], rest.lstrip()
    if part == _EMOJI:
        length = _emoji_length(rest)
        return length > 0 and _fits(following, things, rest[length:])
    if part == _REACTION:
        length = _quotation_length(rest)
        return 0 < length <= _LONGEST_REACTION and _fits(following, things, rest[length:])
    if part == _QUOTATION:
        rest = rest.lstrip(" :：")
        return any(_fits(following, things, rest[length:]) for length in _quoted_lengths(rest, things, may_break_off=not following))
    return rest.startswith(part) and _fits(following, things, rest[len(part) :])


def _quoted_lengths(rest: str, things: tuple[str, ...], *, may_break_off: bool) -> Iterator[int]:
    """How far what was reacted to may go: a quotation, or a thing. The last text of a long message may lack the closing mark."""
    if length := _quotation_length(rest):
        yield length
    elif may_break_off and rest[:1] in ("“", "„", "«") and not any(mark in rest for mark in _CLOSING[rest[0]]):
        yield len(rest)
    for thing in things:
        following = rest[len(thing) : len(thing) + 1]
        if rest.startswith(thing) and (not following.isalnum() or following >= _FIRST_EAST_ASIAN):
            yield len(thing)


def _quotation_length(rest: str) -> int:
    """The length of the quotation that a text begins with, with its marks; 0 if it begins with none. Quotations nest."""
    opening = rest[:1]
    if not opening or opening not in _CLOSING:
        return 0
    closing = _CLOSING[opening]
    if opening not in closing and rest.count(opening) == 1:  # whatever else is in it: inches, a mark that was forgotten
        return max(rest.rfind(mark) for mark in closing) + 1
    depth = 1
    for match in islice(_QUOTATION_MARK.finditer(rest, 1), _MOST_MARKS):
        place, mark = match.start(), match[0]
        if mark in closing and not _is_apostrophe(rest, place):
            depth -= 1
            if depth == 0:
                return place + 1
        elif mark == opening and opening not in closing:
            depth += 1
    return 0


def _is_apostrophe(text: str, place: int) -> bool:
    """Not so where words of a script without apostrophes follow the closing mark without a space."""
    before, after = text[place - 1], text[place + 1 : place + 2]
    return text[place] == "'" and before.isalnum() and after.isalnum() and after < _FIRST_EAST_ASIAN


def _emoji_length(rest: str) -> int:
    """The length of the emoji, or of "!!" and the like, that a text begins with; 0 if it begins with none."""
    length = 0
    for character in rest[: _LONGEST_EMOJI + 1]:
        if character.isspace() or character.isalpha() or character in _NO_EMOJI:
            break
        length += 1
    token = rest[:length]
    if length > _LONGEST_EMOJI or not (token in ("!!", "!", "?") or any(is_pictorial(each) or each in "‼⁉\ufe0f\u20e3" for each in token)):
        return 0
    return length


def _forms() -> Iterator[_Form]:
    rows = [line.split("\t") for line in _TABLE.read_text("utf-8").splitlines()[1:]]
    things: defaultdict[str, list[str]] = defaultdict(list)
    for language, kind, text in rows:
        if kind == "thing":
            things[language].append(text)
    for language, kind, text in rows:
        if kind != "thing":
            yield _Form(_parts(text), tuple(things[language]) if kind == "reaction" else ())


def _parts(line: str) -> tuple[str, ...]:
    """A form's line as words and places: "A retiré {e} de {q}" has four parts."""
    for place in _PLACES:
        line = line.replace(place, f"\0{place}\0")
    return tuple(part.strip() for part in line.split("\0") if part.strip())


def _by_beginning() -> dict[str, list[_Form]]:
    """The forms by how a text begins that may have them: its first letter; or that it begins with a quotation, or an emoji, and what comes
    after that: a letter or another place.
    """
    forms: defaultdict[str, list[_Form]] = defaultdict(list)
    for form in _forms():
        first, second = form.parts[0], form.parts[1]
        if first not in _PLACES:
            forms[first[0]].append(form)
            continue
        begins_with = _EMOJI if first == _EMOJI else _QUOTATION
        forms[begins_with + (second if second in _PLACES else second[0])].append(form)
        for letter in {thing[0] for thing in form.things if first == _QUOTATION}:
            forms[letter].append(form)
    return dict(forms)


_FORMS = _by_beginning()


def _candidates(plain: str) -> list[_Form]:
    """The forms that a text may have: for most texts a few, or none."""
    if plain[0].isalpha():
        return _FORMS.get(plain[0], [])
    quoted = _quotation_length(plain)
    begins_with, length = (_QUOTATION, quoted) if quoted else (_EMOJI, _emoji_length(plain))
    following = plain[length:].lstrip()[:1]
    return [form for after in (following, *_PLACES) for form in _FORMS.get(begins_with + after, [])]
