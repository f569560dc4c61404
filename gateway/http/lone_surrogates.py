"""Where a JSON body has half a character: `"\\ud83d"` is legal JSON, as some clients write it who cut an emoji in two, but no text."""

import json
from typing import Any

_LARGEST = 1024 * 1024
"""Bytes of a body that is looked through. A larger one could take many times its memory."""


def place_of_lone_surrogate(body: bytes) -> str | None:
    """The first such text in a body, as `messages[37].text`; None if there is none, or the body is not JSON at all, or too large.

    Reads the body once more, in Python's own way: for bodies that were refused already.
    """
    if len(body) > _LARGEST:
        return None
    try:
        place = _place_in(json.loads(body.decode("utf-8", "surrogatepass")))
    except (ValueError, RecursionError):
        return None
    return place.lstrip(".") if place is not None else None


def _place_in(value: Any) -> str | None:
    if isinstance(value, str):
        return "" if _is_cut(value) else None
    if isinstance(value, dict):
        for key, item in value.items():
            if _is_cut(key):
                return ""
            if (place := _place_in(item)) is not None:
                return f".{key}{place}"
    if isinstance(value, list):
        for index, item in enumerate(value):
            if (place := _place_in(item)) is not None:
                return f"[{index}]{place}"
    return None


def _is_cut(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
