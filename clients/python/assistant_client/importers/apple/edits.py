"""Edited and unsent messages. `message_summary_info` is a property list with what became of each part of a message:

- `otr`: the parts that were sent, by number,
- `ec`: the versions of each edited part, the first sent first: `t` the text as a typedstream, `d` when (seconds since 2001),
- `rp`: the numbers of the parts that were unsent.
"""

import plistlib
from dataclasses import dataclass

from assistant_client.importers.apple.attributed import ATTACHMENT, attributed_text

_KEYS = (b"\x52ec", b"\x52rp")
"""As a binary property list writes the two keys: strings of two ASCII characters."""


def tells_of_edits(summary: bytes) -> bool:
    """Whether it may. Nearly every message has such a list, and reading one takes as long as reading a text."""
    return any(key in summary for key in _KEYS)


@dataclass(frozen=True, slots=True)
class LastVersion:
    """What is left of a message."""

    text: str
    is_edited: bool
    """Whether any part was edited or unsent; the list also has other things to tell."""
    is_unsent: bool
    """Whether every part was."""
    changed: float | None
    """When it was edited last, in seconds since 2001, if the list says it."""


def last_version(summary: bytes, parts: dict[int, str]) -> LastVersion:
    """What a message says now. `parts` are those of its body, which may be older than the last edit.

    Raises:
        ValueError: the property list or a text in it cannot be read.
    """
    info = _plist(summary)
    unsent = {number for number in _list(info.get("rp")) if isinstance(number, int)}
    versions = {int(number): _list(each) for number, each in _dictionary(info.get("ec")).items() if str(number).isdecimal()}
    sent = {int(number) for number in _dictionary(info.get("otr")) if str(number).isdecimal()}
    newest = {number: _dictionary(each[-1]) for number, each in versions.items() if each and number not in unsent}
    edited = {number: attributed_text(body).text for number, version in newest.items() if isinstance(body := version.get("t"), bytes)}
    # A message that became a link has its text in the body under another number.
    elsewhere = {text.strip() for number, text in edited.items() if number not in parts}
    texts = {number: text for number, text in parts.items() if number not in unsent and text.strip() not in elsewhere} | edited
    times = [time for version in newest.values() if isinstance(time := version.get("d"), int | float)]
    return LastVersion(
        text="\n".join(text for number in sorted(texts) if (text := texts[number].replace(ATTACHMENT, "").strip())),
        is_edited=bool(edited or unsent),
        is_unsent=bool(unsent) and not texts and sent <= unsent,
        changed=max(times, default=None),
    )


def _plist(data: bytes) -> dict[str, object]:
    try:
        return _dictionary(plistlib.loads(data, fmt=plistlib.FMT_BINARY))
    except (RecursionError, KeyError, TypeError, MemoryError, AttributeError) as error:  # what plistlib lets through of damaged lists
        raise ValueError("a property list that cannot be read") from error


def _dictionary(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
