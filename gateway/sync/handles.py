"""What a person is reached by, in the one spelling that is stored and compared; and whom a chat is with, by its identifier.

People and programs write the same address in many ways: with spaces and dashes, in capitals, as a link (`tel:`, `mailto:`), in another
script's digits, between marks of the writing direction that a clipboard adds.
"""

import unicodedata
from uuid import UUID

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumber, PhoneNumberFormat, ValidationResult

LONGEST_HANDLE = 320
"""Characters (RFC 3696: of an e-mail address)."""
_SCHEMES = frozenset({"tel", "sms", "smsto", "mailto", "imessage", "facetime", "facetime-audio"})
_BETWEEN_DIGITS = frozenset(" \t\u00a0\u2007\u202f\u3000-\u2010\u2011\u2012\u2013\u2212./()[]")
_CONTEXT = ";phone-context=+"  # RFC 3966: a number without a country code, and which one it is
_MOST_DIGITS = 15  # ITU-T E.164
_FEWEST_DIGITS = 7
"""Of what is a telephone number by its form alone; fewer are somebody's own id, or a short code."""
_MOST_OF_SHORT_CODE = 6
"""Digits; numbers of small countries have as many, none that matters has fewer."""
_LONGEST_NUMBER = 20
_GROUP, _DIRECT = "+", "-"
"""How a chat identifier says that it is of a group, or of a chat with one person: `<service>;+;<id>`, `<service>;-;<handle>`."""


def handle_of(text: str) -> str:
    """A handle in its stored spelling.

    An e-mail address in lower case; a telephone number with its country code as E.164 (ITU-T), without one as its digits, since nobody can
    tell whose number it is; a contact's id as a UUID is written; anything else is the client's own id and stays as it is, white space
    around it aside.
    """
    plain = _plain(text)
    if "@" in plain:
        return address(plain)
    if (number := _international(plain)) is not None:
        return number
    if (digits := _digits(plain)) is not None and (digits == plain or _FEWEST_DIGITS <= len(digits) <= _MOST_DIGITS):
        return digits
    try:
        return str(UUID(plain)) if len(plain) == 36 else plain
    except ValueError:
        return plain


def is_address(text: str) -> bool:
    """Whether it looks like an e-mail address."""
    name, at, domain = text.partition("@")
    return bool(name and at and domain) and "@" not in domain and not any(map(str.isspace, text))


def is_group_identifier(imessage_id: str) -> bool:
    """Whether a chat identifier says that it is of a group."""
    return _style_of(imessage_id)[0] == _GROUP


def peer_of(imessage_id: str) -> str | None:
    """The handle, as it is stored, of the one person that a chat is with, if its identifier says that.

    `<service>;-;<handle>`, such as `iMessage;-;+14155550100`, or nothing but a telephone number with its country code or an address.
    """
    style, handle = _style_of(imessage_id)
    peer = handle_of(imessage_id if style is None else handle)
    if style == _GROUP or not 0 < len(peer) <= LONGEST_HANDLE:
        return None
    says_it = style == _DIRECT or (peer.startswith("+") and peer[1:].isdigit()) or (is_address(peer) and ";" not in peer)
    return peer if says_it else None


def address(text: str) -> str:
    """An e-mail address in its stored spelling."""
    plain = unicodedata.normalize("NFC", _plain(text))
    lower = plain.lower()
    return lower if len(lower) <= LONGEST_HANDLE else plain  # "İ" is longer in lower case


def phone_number(text: str, region: str | None) -> str | None:
    """A telephone number as E.164; None for what is none. `region` (ISO 3166-1) is where a number without a country code belongs; where
    that says nothing, and for short codes, it is the digits.
    """
    plain = _plain(text)
    if (number := _international(plain)) is not None:
        return number
    national = _parsed(plain, region) if region in phonenumbers.SUPPORTED_REGIONS else None
    if national is not None and _is_whole(national):
        return _e164(national)
    digits = _digits(plain, more="*#")
    if digits is None or len(digits) > _LONGEST_NUMBER or sum(map(str.isdigit, digits)) < 2:
        return None
    return digits


def other_spellings(number: str) -> list[str]:
    """How else a number in E.164 is written where its country goes without saying: as in the country itself, and without the plus."""
    parsed = _parsed(number, None) if number.startswith("+") else None
    if parsed is None:
        return []
    national = "".join(filter(str.isdigit, phonenumbers.format_number(parsed, PhoneNumberFormat.NATIONAL)))
    return [digits for digits in dict.fromkeys((national, number[1:])) if len(digits) >= _FEWEST_DIGITS]


def _style_of(imessage_id: str) -> tuple[str | None, str]:
    parts = imessage_id.split(";", 2)
    return (parts[1], parts[2]) if len(parts) == 3 and parts[1] in (_GROUP, _DIRECT) else (None, "")


def _plain(text: str) -> str:
    """Without what does not belong to it: marks that nobody sees, and the scheme of a link. Digits of all scripts become ASCII."""
    plain = text if text.isascii() else "".join(map(_ascii_digit, filter(_is_visible, text)))
    scheme, colon, rest = plain.strip().partition(":")
    if colon and scheme.lower() in _SCHEMES:
        plain = rest.partition("?")[0]
    return plain.strip() or text.strip()


def _is_visible(character: str) -> bool:
    return unicodedata.category(character) != "Cf"


def _ascii_digit(character: str) -> str:
    if character == "\uff0b":  # a full-width plus
        return "+"
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


def _international(plain: str) -> str | None:
    """E.164, if it has its country code. That is taken at its word: a numbering plan may be newer than the one known here."""
    if plain.startswith("+") or _CONTEXT in plain:
        number = _parsed(plain, None)
        return _e164(number) if number is not None else None
    digits = _digits(plain)
    if digits is not None and digits.startswith("00"):  # how most of the world dials a country code
        number = _parsed("+" + digits[2:], None)
        if number is not None and phonenumbers.is_valid_number(number):
            return _e164(number)
    return None


def _is_whole(number: PhoneNumber) -> bool:
    """Whether it is a number that can be called from everywhere, and no short code or local part of one."""
    length = len(phonenumbers.national_significant_number(number))
    if length <= _MOST_OF_SHORT_CODE:
        return length == _MOST_OF_SHORT_CODE and phonenumbers.is_valid_number(number)
    return phonenumbers.is_possible_number_with_reason(number) == ValidationResult.IS_POSSIBLE


def _digits(plain: str, more: str = "") -> str | None:
    """What is nothing but digits (or `more`) and what is written between them, as the digits."""
    kept = "".join(character for character in plain if character not in _BETWEEN_DIGITS)
    return kept if kept and all(character in "0123456789" or character in more for character in kept) else None


def _parsed(text: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(text, region)
    except NumberParseException:
        return None


def _e164(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)
