"""Where a JSON body has half a character: `"\\ud83d"` is legal JSON, as some clients write it who cut an emoji in two, but no text."""

import json
from collections.abc import Iterator
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
        value = json.loads(body.decode("utf-8", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
    path, open_parts = [""], [iter([("", value)])]
    while open_parts:
        step, value = next(open_parts[-1], (None, None))
        if step is None:
            open_parts.pop()
            path.pop()
            continue
        if _is_cut(step):
            return "".join(path).lstrip(".")
        if isinstance(value, str) and _is_cut(value):
            return ("".join(path) + step).lstrip(".")
        if isinstance(value, list | dict):
            path.append(step)
            open_parts.append(_parts(value))
    return None


def _parts(value: list[Any] | dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The items of a list or an object, each with the step that leads to it."""
    if isinstance(value, list):
        return ((f"[{index}]", item) for index, item in enumerate(value))
    return ((f".{key}", item) for key, item in value.items())


def _is_cut(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
