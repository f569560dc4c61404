"""Writes typedstream as Messages does: attributed texts in parts, some with attachments."""

import struct
from collections.abc import Sequence

PART = "__kIMMessagePartAttributeName"


def attributed_body(*parts: str, mutable: bool = False) -> bytes:
    """An archived NSAttributedString of these parts, numbered from 0."""
    return numbered_body(list(enumerate(parts)), mutable=mutable)


def numbered_body(parts: Sequence[tuple[int, str]], *, mutable: bool = False, found: bytes = b"", link: str = "") -> bytes:
    """As `attributed_body`, of parts that have these numbers: those between were unsent.

    `found` is what Messages found in a text (a date, an address), `link` what it leads to; they stand before a part's number.
    """
    writer = _Writer()
    writer.begin("NSMutableAttributedString" if mutable else "NSAttributedString", *(["NSAttributedString"] if mutable else []), "NSObject")
    writer.string("".join(text for _, text in parts), mutable=mutable)
    for style, (number, text) in enumerate(parts, start=1):
        writer.types("iI")
        writer.integer(style)
        writer.unsigned(len(text.encode("utf-16-le")) // 2)
        writer.begin("NSDictionary", "NSObject")
        writer.types("i")
        writer.integer(1 + bool(found) + bool(link))
        if found:
            writer.string("__kIMDataDetectedAttributeName")
            writer.blob(found)
        if link:
            writer.string("__kIMLinkAttributeName")
            writer.link(link)
        writer.string(PART)
        writer.number(number)
        writer.end()
    writer.end()
    return writer.data


class _Writer:
    def __init__(self) -> None:
        self.data = b"\x04\x0bstreamtyped" + b"\x81\xe8\x03"
        self._strings: list[bytes] = []
        self._objects: list[str] = []

    def begin(self, *classes: str) -> None:
        self.types("@")
        self.data += b"\x84"
        self._objects.append("")
        for name in classes:
            if f"class {name}" in self._objects:
                self.integer(self._objects.index(f"class {name}") - 110)
                return
            self.data += b"\x84"
            self._shared(name.encode())
            self.data += b"\x01" if name in ("NSString", "NSMutableString") else b"\x00"
            self._objects.append(f"class {name}")
        self.data += b"\x85"

    def end(self) -> None:
        self.data += b"\x86"

    def string(self, text: str, *, mutable: bool = False) -> None:
        self.begin(*(["NSMutableString"] if mutable else []), "NSString", "NSObject")
        self.types("+")
        self.unsigned(len(text.encode()))
        self.data += text.encode()
        self.end()

    def number(self, value: int) -> None:
        self.begin("NSNumber", "NSValue", "NSObject")
        self.types("*")
        if "type q" in self._objects:
            self.integer(self._objects.index("type q") - 110)
        else:
            self.data += b"\x84"
            self._shared(b"q")
            self._objects.append("type q")
        self.types("q")
        self.integer(value)
        self.end()

    def blob(self, content: bytes) -> None:
        self.begin("NSMutableData", "NSData", "NSObject")
        self.types("i")
        self.integer(len(content))
        self.types(f"[{len(content)}c]")
        self.data += content
        self.end()

    def link(self, address: str) -> None:
        self.begin("NSURL", "NSObject")
        self.types("c")
        self.data += b"\x00"
        self.string(address)
        self.end()

    def types(self, encoding: str) -> None:
        self._shared(encoding.encode())

    def integer(self, value: int) -> None:
        if -110 <= value <= 127:
            self.data += struct.pack("<b", value)
        elif -(2**15) <= value < 2**15:
            self.data += b"\x81" + struct.pack("<h", value)
        else:
            self.data += b"\x82" + struct.pack("<i", value)

    def unsigned(self, value: int) -> None:
        if value < 128:
            self.data += bytes([value])
        elif value < 2**16:
            self.data += b"\x81" + struct.pack("<H", value)
        else:
            self.data += b"\x82" + struct.pack("<I", value)

    def _shared(self, text: bytes) -> None:
        if text in self._strings:
            self.integer(self._strings.index(text) - 110)
            return
        self._strings.append(text)
        self.data += b"\x84"
        self.unsigned(len(text))
        self.data += text
