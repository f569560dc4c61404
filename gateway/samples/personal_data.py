"""Masks what must not be learnt by heart: telephone numbers, e-mail addresses, payment cards, IBANs and one-time codes.

Recognising is by form and errs on the side of masking: whatever has seven or more digits in a row, with the usual separators, is masked,
unless it is a date or a time. What is masked says what it was, as `[phone]`, so that a sentence stays a sentence.
(docs/decisions/0014-personal-data.md says why not by a list of countries' numbering plans.)
"""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import replace

from stdnum import iban, luhn

from gateway.message_text.blank import is_blank
from shared.contracts.generation import Turn

EMAIL, IBAN, CARD, PHONE, NUMBER, CODE = PLACEHOLDERS = ("[email]", "[iban]", "[card]", "[phone]", "[number]", "[code]")

_MOST_PHONE_DIGITS = 15  # ITU-T E.164
_CARD_DIGITS = range(19, 12, -1)  # ISO/IEC 7812
_IBAN_LENGTHS = range(15, 35)  # characters, ISO 13616
_MOST_PASSES = 8
"""What people write is masked in one pass or two. A text that is made to need one for each of its words must not get them."""

_MAY_HAVE_SOME = re.compile(r"[@\d]")
_LOCAL = r"\w.!#$%&'*+/=?^`{|}~-"
_EMAIL = re.compile(rf"(?<![{_LOCAL}])[{_LOCAL}]+@[\w-]+(?:\.[\w-]+)+")
_IBAN_START = re.compile(r"[A-Za-z]{2}[0-9]{2}")
_BETWEEN = r"[ \t\u00a0\u2000-\u200f\u202a-\u202f\u2060-\u2069\u3000.\-\u2010-\u2015/()\u00ad]{0,3}"
_DATE = r"\d{1,2}(?P<s>[./-])\d{1,2}(?P=s)(?:\d{4}|\d{2})|(?:19|20)\d\d(?P<t>[./-])\d{1,2}(?P=t)\d{1,2}"
_CLOCK = r"(?:[01]?\d|2[0-4])[.:][0-5]\d"
_DASH = r"\ ?[-\u2013/]\ ?"
_LONG_NUMBER = re.compile(
    rf"""
    (?P<kept>(?<![\d.+/-])(?:
        {_DATE}                               # 24.12.2026, 2026-12-24
        | (?:19|20)\d\d{_DASH}(?:19|20)\d\d   # 2025-2026
        | {_CLOCK}{_DASH}{_CLOCK}             # 10.30-11.45
    )(?![.\-/]?\d))
    | (?P<number>(?:\((?=\+?\d{{1,6}}\)))?\+?(?:\((?=\d{{1,6}}\)))?\d(?:{_BETWEEN}\d){{6,}}(?:\ ?(?:ext\.?|x|\#)\ ?\d{{1,7}})?)
    """,
    re.VERBOSE,
)
# Words that stand beside a code, in a few languages; the short ones only as words of their own.
_CODE_WORD = re.compile(
    r"(?<!\[)(?:code|código|codigo|codice|passw|pass\s?key|kennwort|mot de passe|contraseñ|senha|wachtwoord|lösenord|hasło|şifre"
    r"|verif|bestätigung|парол|验证码|驗證碼|密码|密碼|動態碼|動的|認証|暗証|パスワード|コード|인증|비밀번호|رمز|كود|كلمة"
    r"|קוד|סיסמ"
    r"|(?<![^\W\d_])(?:otp|pin|puk|tan|mtan|kod|kode|kód|код|clave|pw|pwd|2fa|mã|kodu)(?![^\W\d_]))",
    re.IGNORECASE,
)
# Digits, perhaps in two halves, or capitals with a digit among them: 4821, 123-456, G-123456, X7K2P9.
_CODE = re.compile(r"(?<!\w)(?:[A-Z]-)?(?:\d{3,4}[ -]\d{3,4}|\d{4,8}|(?=[A-Z]*\d)[A-Z\d]{4,10})(?!\w)")
_PLACEHOLDER = re.compile("|".join(map(re.escape, PLACEHOLDERS)))


def mask(text: str, before: str = "") -> str:
    """A text with personal data replaced by placeholders; masking it again changes nothing.

    Args:
        before: what was said right before: its last line may ask for the code that this text is.
    """
    if not _MAY_HAVE_SOME.search(text):  # without this 2,500 replies take half as long again
        return text
    for _ in range(_MOST_PASSES):  # a number may come to light when what it stuck to is masked
        masked = _masked(text, before)
        if masked == text:
            break
        text = masked
    return text


def mask_turns(turns: Iterable[Turn], mask: Callable[[str, str], str] = mask) -> list[Turn]:
    """The turns of a prompt, masked; `mask` may be one that remembers."""
    masked: list[Turn] = []
    before = ""
    for turn in turns:
        masked.append(replace(turn, content=mask(turn.content, before)))
        before = turn.content
    return masked


def says_something(masked: str) -> bool:
    """Whether a masked text has more to say than placeholders. (A lone emoji says something.)"""
    rest, placeholders = _PLACEHOLDER.subn("", masked)
    return not is_blank(rest) if placeholders == 0 else any(character.isalnum() for character in rest)


def _masked(text: str, before: str) -> str:
    text = _without_ibans(_EMAIL.sub(EMAIL, text))
    text = _LONG_NUMBER.sub(_long_number, text)
    return _without_codes(text, before)


def _without_ibans(text: str) -> str:
    """An IBAN begins where a word does, or right after another one."""
    parts: list[str] = []
    done = 0
    for start in _IBAN_START.finditer(text):
        begin = start.start()
        glued = begin > done and (text[begin - 1].isalnum() or text[begin - 1] == "_")
        if begin < done or glued or (end := _iban_end(text, begin)) is None:
            continue
        parts += text[done:begin], IBAN
        done = end
    return "".join((*parts, text[done:]))


def _iban_end(text: str, begin: int) -> int | None:
    """Where the IBAN ends that begins here, if one does. It has no end of its own: what follows it may look like more of it."""
    characters, ends = "", list[int]()
    for place in range(begin, len(text)):
        character = text[place]
        if character.isascii() and character.isalnum():
            characters += character
            ends.append(place + 1)
            if len(characters) == _IBAN_LENGTHS[-1]:
                break
        elif character != " " or text[place - 1] == " ":
            break
    likely = (length for length in reversed(_lengths_that_check_out(characters)) if iban.is_valid(characters[:length]))
    return next((ends[length - 1] for length in likely), None)


def _lengths_that_check_out(characters: str) -> list[int]:
    """At which lengths these characters are right by ISO 7064, Mod 97-10: nearly always at none, so that stdnum need not be asked."""
    numbers = [str(int(character, 36)) for character in characters]
    lengths = [length for length in _IBAN_LENGTHS if length <= len(characters)]
    return [length for length in lengths if int("".join([*numbers[4:length], *numbers[:4]])) % 97 == 1]


def _long_number(match: re.Match[str]) -> str:
    if match["kept"] is not None:
        return match[0]
    digits = "".join(str(unicodedata.digit(character)) for character in match[0] if character.isdigit())
    if any(length <= len(digits) and luhn.is_valid(digits[:length]) for length in _CARD_DIGITS):
        return CARD
    return PHONE if len(digits) <= _MOST_PHONE_DIGITS else NUMBER


def _without_codes(text: str, before: str) -> str:
    """A code stands on a line with a word for it, or right after such a line."""
    if not _CODE.search(text):  # looking for the words takes longer: without this 2,500 replies take 0.30 s instead of 0.21
        return text
    lines = text.split("\n")
    spoken = _CODE_WORD.search(before.rpartition("\n")[2]) is not None
    for number, line in enumerate(lines):
        named = _CODE_WORD.search(line) is not None
        if named or spoken:
            lines[number] = _CODE.sub(CODE, line)
        spoken = named
    return "\n".join(lines)
