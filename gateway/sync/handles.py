"""What a person is reached by, in the one spelling that is stored and compared."""

from functools import lru_cache
from uuid import UUID

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat


class UnusableNumberError(ValueError):
    """A telephone number that cannot be brought into E.164; the message says what to write instead."""


@lru_cache(maxsize=10_000)
def handle_of(text: str) -> str:
    """A handle in its stored spelling.

    An e-mail address in lower case; a telephone number with its country code as E.164 (ITU-T); a contact's id as a UUID is written;
    anything else is the client's own id and stays as it is, white space around it aside. A number without a country code is such an own
    id too: nobody can tell whose number it is.
    """
    stripped = text.strip()
    if "@" in stripped:
        return stripped.lower()
    if stripped.startswith(("+", "tel:+")):
        try:
            return _e164(stripped, None)
        except UnusableNumberError:
            return stripped
    try:
        return str(UUID(stripped)) if len(stripped) == 36 else stripped
    except ValueError:
        return stripped


def phone_number(text: str, region: str | None) -> str:
    """A telephone number as E.164. `region` (ISO 3166-1) is where a number without a country code belongs.

    Raises:
        UnusableNumberError: no number, or one without a country code and no region to take it from.
    """
    international = text.strip().startswith(("+", "tel:+"))
    if not international and region is None:
        raise UnusableNumberError("write it with its country code, as +14155550100, or send defaultRegion")
    if not international and region not in phonenumbers.SUPPORTED_REGIONS:
        raise UnusableNumberError("defaultRegion is not a country that has telephone numbers")
    return _e164(text.strip(), region)


def _e164(text: str, region: str | None) -> str:
    try:
        number = phonenumbers.parse(text, region)
    except NumberParseException:
        raise UnusableNumberError("is not a telephone number") from None
    # Numbers with a country code are taken at their word: a numbering plan may be newer than the one known here.
    if not text.startswith(("+", "tel:+")) and not phonenumbers.is_possible_number(number):
        raise UnusableNumberError("is not a telephone number of defaultRegion; write it with its country code")
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)
