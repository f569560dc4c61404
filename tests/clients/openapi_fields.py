"""Two descriptions of the same body, compared field by field."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Schema = dict[str, Any]
Direction = Literal["a request", "an answer"]


@dataclass(frozen=True)
class Field:
    """What a field may hold, in words; whether it has to be there; and what it is if it is not."""

    kinds: frozenset[str]
    required: bool
    default: Any = None


def fields(schema: Schema, components: Schema, path: str = "", *, required: bool = True) -> dict[str, Field]:
    """Every field below a schema by its path, such as `messages[].sentAt`, and under `path` the value itself."""
    found: dict[str, Field] = {}
    kinds = set[str]()
    for each in _alternatives(schema, components):
        if "properties" in each:
            kinds.add("body")
            below = path + _tag(each)
            for name, child in each["properties"].items():
                found |= fields(child, components, f"{below}.{name}".lstrip("."), required=name in each.get("required", []))
        elif "items" in each:
            kinds.add("list")
            found |= fields(each["items"], components, f"{path}[]")
        else:
            kinds.update(_words(each))
    default = schema.get("default")
    return found | {path: Field(frozenset(kinds), required, None if default == [] else default)}  # an empty list is not always described


def differences(ours: dict[str, Field], theirs: dict[str, Field], direction: Direction) -> Iterator[str]:
    """Why a client with our fields could not talk to a gateway with theirs, or would leave something out."""
    for path in sorted(theirs.keys() - ours.keys()):
        yield f"`{path}` is missing here"
    for path in sorted(ours.keys() - theirs.keys()):
        yield f"`{path}` is not in the document"
    for path in sorted(ours.keys() & theirs.keys()):
        mine, its = ours[path], theirs[path]
        sent, read = (mine, its) if direction == "a request" else (its, mine)
        if unread := _unread(sent.kinds, read.kinds):
            yield f"`{path}` may be {sorted(unread)} in {direction}, and is read as {sorted(read.kinds)}"
        if read.required and not sent.required:
            yield f"`{path}` may be left out of {direction}, and has to be there"
        if direction == "a request" and not mine.required and mine.default != its.default:
            yield f"`{path}` is {mine.default!r} if it is left out here, and {its.default!r} in the document"


def _unread(sent: frozenset[str], read: frozenset[str]) -> set[str]:
    """What may be sent and is not understood. A word is a text; nothing at all is said of a value that may be anything."""
    texts = {kind for kind in sent if kind.startswith("'")} if "string" in read else set()
    return set() if "anything" in read else set(sent - read - texts)


def _alternatives(schema: Schema, components: Schema) -> Iterator[Schema]:
    while "$ref" in schema:
        schema = components[schema["$ref"].rpartition("/")[2]]
    alternatives = schema.get("oneOf") or schema.get("anyOf")
    if alternatives is None:
        yield schema
        return
    for each in alternatives:
        yield from _alternatives(each, components)


def _tag(body: Schema) -> str:
    """Tells one body from the others that could be there instead, if it has a word for that."""
    words = [word for word in _words(body["properties"].get("action", {})) if word.startswith("'")]
    return f"({words[0]})" if len(words) == 1 else ""


def _words(schema: Schema) -> Iterator[str]:
    if "const" in schema:
        yield repr(schema["const"])
    elif "enum" in schema:
        yield from ("null" if value is None else repr(value) for value in schema["enum"])
    else:
        kinds = schema.get("type", "anything")
        for kind in kinds if isinstance(kinds, list) else [kinds]:
            yield str(schema["format"] if kind == "string" and "format" in schema else kind)
