"""The text of a message as `attributedBody` has it: in parts, each of which can be edited and unsent by itself."""

from dataclasses import dataclass

from assistant_client.importers.apple.typedstream import Archived, TypedStreamError, first_object

_PART = "__kIMMessagePartAttributeName"
ATTACHMENT = "\ufffc"
"""Stands in a text for what is no text (Unicode: object replacement character)."""


@dataclass(frozen=True, slots=True)
class AttributedText:
    """A text, and the same in its parts by their numbers. What stands for an attachment is in it."""

    text: str
    parts: dict[int, str]


def attributed_text(data: bytes) -> AttributedText:
    """Read an archived NSAttributedString.

    Raises:
        TypedStreamError: the bytes are something else, or damaged.
    """
    archived = first_object(data)
    if not any(name.endswith("AttributedString") for name in archived.classes) or not archived.values:
        raise TypedStreamError("no attributed string")
    text = _text(archived.values[0])
    return AttributedText(text, _parts(text, archived.values[1:]))


def _text(value: object) -> str:
    if not isinstance(value, Archived) or "NSString" not in value.classes or not value.values or not isinstance(value.values[0], bytes):
        raise TypedStreamError("an attributed string without its string")
    try:
        return value.values[0].decode()
    except UnicodeDecodeError as error:
        raise TypedStreamError("a text that is not UTF-8") from error


def _parts(text: str, runs: list[object]) -> dict[int, str]:
    """The runs are `style, length` in UTF-16 units, and after a style's first use its dictionary."""
    styles: dict[object, int] = {}
    parts: dict[int, str] = {}
    units = None if text.isascii() or max(text) <= "\uffff" else text.encode("utf-16-le")
    at, index, part = 0, 0, 0
    while index + 1 < len(runs):
        style, length = runs[index], runs[index + 1]
        if not isinstance(style, int) or not isinstance(length, int):
            raise TypedStreamError("a run without its length")
        index += 2
        if index < len(runs) and isinstance(runs[index], Archived):
            styles.setdefault(style, _part_number(runs[index]))
            index += 1
        number = styles.get(style, -1)
        part = number if number >= 0 else part
        run = text[at : at + length] if units is None else units[2 * at : 2 * (at + length)].decode("utf-16-le", "replace")
        parts[part] = parts.get(part, "") + run
        at += length
    return parts or {0: text}


def _part_number(attributes: object) -> int:
    """-1 if the attributes do not say it."""
    values = attributes.values[1:] if isinstance(attributes, Archived) else []
    for name, value in zip(values[::2], values[1::2], strict=False):
        if isinstance(name, Archived) and name.values and name.values[0] == _PART.encode() and isinstance(value, Archived):
            number = value.values[-1] if value.values else None
            return number if isinstance(number, int) else -1
    return -1
