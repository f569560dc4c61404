"""The lines of WhatsApp's export: how a message begins, in the date styles of phones everywhere, and in which order day and month are.

Android: `31.12.23, 21:41 - Sam: Hello`, `12/31/23, 9:41 PM - Sam: Hello`; iOS: `[31/12/2023, 21:41:05] Sam: Hello`. Marks of the writing
direction stand anywhere, and between the time and `PM` a narrow space.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

DateOrder = Literal["dmy", "mdy", "ymd"]
_MARKS = "\u200e\u200f\u202a\u202b\u202c\u2066\u2067\u2068\u2069\ufeff"
_SPACE = "[ \u00a0\u202f]"
_DATE = rf"(?P<first>\d{{1,4}})[./-]{_SPACE}?(?P<second>\d{{1,2}})[./-]{_SPACE}?(?P<third>\d{{1,4}})\.?"
_TIME = rf"(?P<hour>\d{{1,2}})[:.](?P<minute>\d{{2}})(?:[:.](?P<seconds>\d{{2}}))?(?:{_SPACE}?(?P<half>[AaPp]\.?{_SPACE}?[Mm]\.?))?"
_BEGIN = rf"{_DATE}[,\u060c]?{_SPACE}{{1,2}}{_TIME}"
_IOS = rf"\[[{_MARKS}]*{_BEGIN}[{_MARKS}]*\]{_SPACE}"
_ANDROID = rf"{_BEGIN}{_SPACE}[-\u2013]{_SPACE}".replace("?P<", "?P<a_")
_HEADER = re.compile(rf"^[{_MARKS}]*(?:{_IOS}|{_ANDROID})(?P<rest>.*)$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Header:
    """The begin of a message: its three numbers of the date as they are written, its time, and the rest of the line."""

    numbers: tuple[int, int, int]
    hour: int
    minute: int
    seconds: int
    rest: str
    has_dots: bool

    def time(self, order: DateOrder) -> datetime | None:
        """The wall clock's time if the numbers are in this order; None if there is no such day."""
        first, second, third = self.numbers
        year, month, day = {"ymd": (first, second, third), "dmy": (third, second, first), "mdy": (third, first, second)}[order]
        try:
            return datetime(year + 2000 if year < 100 else year, month, day, self.hour, self.minute, self.seconds)
        except ValueError:
            return None


def header(line: str) -> Header | None:
    """What a line begins, if it begins a message."""
    match = _HEADER.match(line)
    if match is None:
        return None
    a = "" if match["first"] is not None else "a_"
    hour = int(match[a + "hour"])
    if half := match[a + "half"]:
        hour = hour % 12 + (12 if half[0] in "Pp" else 0)
    return Header(
        (int(match[a + "first"]), int(match[a + "second"]), int(match[a + "third"])),
        hour,
        int(match[a + "minute"]),
        int(match[a + "seconds"] or 0),
        match["rest"],
        "." in line[match.start(a + "first") : match.end(a + "third")].rstrip("."),
    )


def date_orders(headers: Iterable[Header]) -> set[DateOrder]:
    """The orders in which a whole file makes sense: every day exists, and no message is before the one above it by more than a day.

    A date with points is never written with the month first.
    """
    fits: dict[DateOrder, int] = {"ymd": 0, "dmy": 0, "mdy": 0}
    backwards: dict[DateOrder, int] = dict.fromkeys(fits, 0)
    latest: dict[DateOrder, datetime] = {}
    total = 0
    with_dots = False
    for each in headers:
        total += 1
        with_dots = with_dots or each.has_dots
        for order in fits:
            time = each.time(order)
            if time is None or (order == "ymd") != (each.numbers[0] > 99):
                continue
            fits[order] += 1
            if order in latest and (latest[order] - time).days >= 1:
                backwards[order] += 1
            latest[order] = time
    most = max(fits.values())
    if total == 0 or most == 0:
        return set()
    left = {order for order, count in fits.items() if count == most and not (order == "mdy" and with_dots)}
    fewest = min((backwards[order] for order in left), default=0)
    return {order for order in left if backwards[order] == fewest}


def without_marks(text: str) -> str:
    """A text without the marks of the writing direction around it."""
    return text.strip(_MARKS + " \u00a0\u202f")
