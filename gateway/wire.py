"""The base of every public body and the constrained types that they share."""

from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

# A NUL is legal JSON but cannot be stored by PostgreSQL; it is refused at the border, where the field can be named.
NO_NUL = r"^[^\x00]*$"
"""A text that can be stored."""
WRITTEN = r"^\s*[^\s\x00][^\x00]*$"
"""A text that can be stored and is not blank. One way only to read any text: a pattern that has a choice takes the square of its length."""

Name = Annotated[str, Meta(min_length=1, max_length=200, pattern=NO_NUL)]


class Wire(Struct, frozen=True, kw_only=True, rename="camel"):
    """A public body: camelCase on the wire, snake_case in code. Unknown fields of a request are ignored."""


def camel(name: str) -> str:
    """A name as clients write it: `pageSize` for our `page_size`."""
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def utc_now() -> datetime:
    """The current time with its zone; times leave as RFC 3339 with `Z`."""
    return datetime.now(UTC)


def storable(text: str) -> str:
    """PostgreSQL has no place for a NUL, which a model can utter."""
    return text.replace("\0", "")


def storable_json(value: Any) -> Any:
    """The same for all texts in what JSON is made of."""
    match value:
        case str():
            return storable(value)
        case dict():
            return {storable(key): storable_json(each) for key, each in value.items()}
        case list() | tuple():
            return [storable_json(each) for each in value]
        case _:
            return value
