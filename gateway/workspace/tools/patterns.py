"""Regular expressions of strangers: RE2 reads any text once, whatever the expression. It has no back references and no look-around."""

from typing import Any, Final

import re2

MOST_CHARACTERS: Final = 1_000


class PatternRefused(Exception):
    """An expression cannot be used; the message says why, and is shown to the model and to clients."""


def compiled(pattern: str, *, literal: bool = False, case_sensitive: bool = True) -> Any:
    """An expression whose objects behave as those of `re`.

    Raises:
        PatternRefused: it is too long, or RE2 does not read it.
    """
    if len(pattern) > MOST_CHARACTERS:
        raise PatternRefused(f"A pattern has at most {MOST_CHARACTERS} characters")
    options = re2.Options()
    options.case_sensitive = case_sensitive
    options.literal = literal
    options.log_errors = False
    try:
        return re2.compile(pattern if literal else f"(?m){pattern}", options=options)  # `^` is where a line begins
    except re2.error as error:
        raise PatternRefused(f"{pattern!r} is no pattern that can be used (RE2's syntax)") from error
