"""Reads vCard files, versions 2.1, 3.0 (RFC 2426) and 4.0 (RFC 6350): of each card the name, the numbers and the addresses."""

import quopri
import re
from collections.abc import Iterator
from pathlib import Path

from assistant_client.importers.items import LeftOut
from assistant_client.importers.people import AddressBook, Person

_LINE = re.compile(r"^(?:[\w-]+\.)?(?P<name>[\w-]+)(?P<parameters>(?:;[^:\"]*(?:\"[^\"]*\"[^:\"]*)*)?):(?P<value>.*)$", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_MOST_LINES = 100_000
"""Of one card, for a photo; what never ends is no card."""
_URIS = ("tel:", "mailto:")


def vcard_file(path: Path) -> AddressBook:
    """A vCard file as a source."""
    return AddressBook(f"vcard:{path.resolve()}", people(path))


def people(path: Path) -> Iterator[Person | LeftOut]:
    """The cards of a file, one after the other. One that cannot be read is named by the line that it begins in."""
    card: list[bytes] | None = None
    begin = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            plain = line.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n")
            word = plain.strip().upper()
            if word == b"BEGIN:VCARD":
                if card is not None:
                    yield _damaged(begin, "a card without an end")
                card, begin = [], number
            elif word == b"END:VCARD" and card is not None:
                yield _person(card, begin)
                card = None
            elif card is not None:
                card.append(plain)
                if len(card) > _MOST_LINES:
                    yield _damaged(begin, "a card without an end")
                    card = None
    if card is not None:
        yield _damaged(begin, "a card without an end")


def _damaged(line: int, reason: str) -> LeftOut:
    return LeftOut(f"card in line {line}", reason, is_damaged=True)


def _person(lines: list[bytes], begin: int) -> Person | LeftOut:
    """Lines that are none (RFC 6350, 3.3) are passed over; the rest of a card is still somebody."""
    found: dict[str, list[str]] = {}
    for line in _unfolded(lines):
        match = _LINE.match(line.decode("utf-8", "surrogateescape"))
        name = match["name"].upper() if match else ""
        if match and name in ("FN", "N", "ORG", "NICKNAME", "TEL", "EMAIL", "UID"):
            found.setdefault(name, []).append(_decoded(match["value"], match["parameters"].upper()))
    if not found:
        return _damaged(begin, "a card without a name, a number or an address")
    name = _text(found.get("FN")) or _full_name(found.get("N", [""])[0]) or _text(found.get("NICKNAME")) or _text(found.get("ORG"))
    return Person(
        f"card in line {begin}",
        name,
        tuple(_without_scheme(_unescaped(each)) for each in found.get("TEL", [])),
        tuple(_without_scheme(_unescaped(each)) for each in found.get("EMAIL", [])),
        _text(found.get("UID")),
    )


def _unfolded(lines: list[bytes]) -> Iterator[bytes]:
    """Long lines go on behind a space (RFC 6350, 3.2); quoted-printable ones of version 2.1 behind a `=` at the end."""
    whole: bytes | None = None
    for line in lines:
        if whole is not None and line[:1] in (b" ", b"\t"):
            whole += line[1:]
        elif whole is not None and whole.endswith(b"=") and b"QUOTED-PRINTABLE" in whole.partition(b":")[0].upper():
            whole = whole[:-1] + line
        else:
            if whole is not None:
                yield whole
            whole = line
    if whole is not None:
        yield whole


def _decoded(value: str, parameters: str) -> str:
    if "QUOTED-PRINTABLE" not in parameters:
        return value
    charset = re.search(r"CHARSET=\"?([\w-]+)", parameters)
    data = quopri.decodestring(value.encode("utf-8", "surrogateescape"))
    try:
        return data.decode(charset[1] if charset else "utf-8")
    except (LookupError, UnicodeDecodeError):
        return data.decode("latin-1")


def _full_name(value: str) -> str | None:
    """`N` is family; given; additional; prefix; suffix."""
    parts = [_unescaped(part).strip() for part in re.split(r"(?<!\\);", value)]
    family, given, additional = (*parts, "", "", "")[:3]
    return " ".join(part for part in (given, additional, family) if part) or None


def _text(values: list[str] | None) -> str | None:
    if not values:
        return None
    plain = _unescaped(values[0]).strip(" ;").encode("utf-8", "replace").decode()
    return plain or None


def _unescaped(value: str) -> str:
    return _ESCAPED.sub(lambda match: "\n" if match[1] in "nN" else match[1], value)


def _without_scheme(value: str) -> str:
    for scheme in _URIS:
        if value.lower().startswith(scheme):
            return value[len(scheme) :]
    return value
