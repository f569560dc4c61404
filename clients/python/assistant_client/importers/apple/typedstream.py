"""Reads typedstream, the format of NSArchiver: `chat.db` has its attributed texts in it.

The format has no specification. A stream is a header, then groups of values; each group has the types of its values as a string before
them (Objective-C type encodings: `@` an object, `+` bytes, `i` a number). Strings, classes and objects are written once, and referred to by
number afterwards. What is read here was written on other people's phones: every length is checked against what is left.
"""

import struct
from dataclasses import dataclass, field
from typing import TypeVar

_SIGNATURE = b"streamtyped"
_INT16, _INT32, _FLOAT, _NEW, _NIL, _END = 0x81, 0x82, 0x83, 0x84, 0x85, 0x86
T = TypeVar("T")
_FIRST_REFERENCE = -110
_DEEPEST = 64
"""Objects in objects; attributed texts have some five."""
_SIGNED = frozenset("silq")
_UNSIGNED = frozenset("SILQ")


class TypedStreamError(ValueError):
    """The bytes are no typedstream, or one that was cut off or damaged."""


@dataclass(slots=True)
class Archived:
    """An object: the names of its class and the classes above, and its values in the order of the stream."""

    classes: tuple[str, ...] = ()
    values: list[object] = field(default_factory=list)


def first_object(data: bytes) -> Archived:
    """The object that a stream begins with.

    Raises:
        TypedStreamError: it has none, or cannot be read up to its end.
    """
    reader = _Reader(data)
    try:
        reader.header()
        values = reader.group(0)
    except (IndexError, struct.error) as error:
        raise TypedStreamError("the stream ends too early") from error
    if len(values) != 1 or not isinstance(values[0], Archived):
        raise TypedStreamError("the stream does not begin with an object")
    return values[0]


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._strings: list[bytes] = []
        self._objects: list[object] = []
        self._types: dict[bytes, list[str]] = {}

    def header(self) -> None:
        version = self._byte()
        signature = self._bytes(self._byte())
        if version != 4 or signature != _SIGNATURE:
            raise TypedStreamError("not a typedstream of this byte order")
        self._integer(self._byte())

    def group(self, depth: int) -> list[object]:
        encoding = self._shared_string(self._byte())
        if encoding is None:
            raise TypedStreamError("a group without types")
        types = self._types.get(encoding)
        if types is None:
            types = self._types[encoding] = _split(encoding)
        return [self._value(each, depth) for each in types]

    def _value(self, kind: str, depth: int) -> object:
        if kind == "@":
            return self._object(depth)
        if kind == "+":
            return self._bytes(self._length())
        if kind in _SIGNED:
            return self._integer(self._byte())
        if kind in _UNSIGNED:
            return self._length()
        if kind in "cCB":
            return self._byte()
        if kind in "fd":
            return self._real(kind)
        if kind in ("*", "%", ":"):
            return self._c_string() if kind == "*" else self._shared_string(self._byte())
        if kind == "#":
            return self._class(self._byte())
        if kind[0] == "[":
            return self._array(kind, depth)
        if kind[0] == "{" and depth < _DEEPEST:
            return [self._value(each, depth + 1) for each in _split(kind[1:-1].partition("=")[2].encode())]
        raise TypedStreamError("a type that is not known")

    def _object(self, depth: int) -> object:
        head = self._byte()
        if head == _NIL:
            return None
        if head != _NEW:
            return self._referred(self._objects, head)
        if depth >= _DEEPEST:
            raise TypedStreamError("objects too deep in each other")
        archived = Archived()
        self._objects.append(archived)
        archived.classes = self._class(self._byte())
        while self._data[self._at] != _END:
            archived.values.extend(self.group(depth + 1))
        self._at += 1
        return archived

    def _class(self, head: int) -> tuple[str, ...]:
        """The names of a class and of those above it."""
        names: list[str] = []
        numbers: list[int] = []
        while head == _NEW:
            name = self._shared_string(self._byte())
            self._integer(self._byte())  # the version
            numbers.append(len(self._objects))
            self._objects.append(None)
            names.append((name or b"").decode("ascii", "replace"))
            head = self._byte()
        above = () if head == _NIL else self._referred(self._objects, head)
        if not isinstance(above, tuple):
            raise TypedStreamError("a class that is none")
        for distance, number in enumerate(numbers):
            self._objects[number] = (*names[distance:], *above)
        return (*names, *above)

    def _array(self, kind: str, depth: int) -> object:
        digits = len(kind[1:-1]) - len(kind[1:-1].lstrip("0123456789"))
        count, element = int(kind[1 : 1 + digits] or "0"), kind[1 + digits : -1]
        if count > len(self._data) - self._at or depth >= _DEEPEST:
            raise TypedStreamError("an array longer than the stream")
        if element in ("c", "C"):
            return self._bytes(count)
        types = _split(element.encode())
        return [self._value(each, depth + 1) for _ in range(count) for each in types]

    def _c_string(self) -> object:
        head = self._byte()
        if head == _NIL:
            return None
        if head != _NEW:
            return self._referred(self._objects, head)
        text = self._shared_string(self._byte())
        self._objects.append(text)
        return text

    def _shared_string(self, head: int) -> bytes | None:
        if head == _NIL:
            return None
        if head == _NEW:
            text = self._bytes(self._length())
            self._strings.append(text)
            return text
        return self._referred(self._strings, head)

    def _referred(self, table: list[T], head: int) -> T:
        number = self._integer(head) - _FIRST_REFERENCE
        if not 0 <= number < len(table):
            raise TypedStreamError("a reference to what was not written")
        return table[number]

    def _integer(self, head: int) -> int:
        if head == _INT16:
            self._at += 2
            return int(struct.unpack_from("<h", self._data, self._at - 2)[0])
        if head == _INT32:
            self._at += 4
            return int(struct.unpack_from("<i", self._data, self._at - 4)[0])
        if head in (_FLOAT, _NEW, _NIL, _END):
            raise TypedStreamError("a number was expected")
        return head - 0x100 if head > 0x7F else head

    def _length(self) -> int:
        """A number without a sign."""
        head = self._byte()
        number = self._integer(head)
        if number >= 0:
            return number
        return number + (1 << {_INT16: 16, _INT32: 32}.get(head, 8))

    def _real(self, kind: str) -> float:
        head = self._byte()
        if head != _FLOAT:
            return float(self._integer(head))
        size = 4 if kind == "f" else 8
        return float(struct.unpack("<f" if kind == "f" else "<d", self._bytes(size))[0])

    def _byte(self) -> int:
        self._at += 1
        return self._data[self._at - 1]

    def _bytes(self, length: int) -> bytes:
        if not 0 <= length <= len(self._data) - self._at:
            raise TypedStreamError("a length beyond the end of the stream")
        self._at += length
        return self._data[self._at - length : self._at]


def _split(encoding: bytes) -> list[str]:
    """The types that an encoding is a sequence of; an array and a structure are one each."""
    types: list[str] = []
    open_brackets, begin = 0, 0
    text = encoding.decode("ascii", "replace")
    for index, character in enumerate(text):
        if character in "[{":
            open_brackets += 1
        elif character in "]}":
            open_brackets -= 1
        if open_brackets == 0:
            types.append(text[begin : index + 1])
            begin = index + 1
    if begin != len(text):
        raise TypedStreamError("an encoding with brackets left open")
    return types
