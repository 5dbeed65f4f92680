"""Dates of IMAP: ``4-Jan-2024`` and ``" 4-Jan-2024 14:00:00 +0100"``.  RFC 9051 9."""
from __future__ import annotations

import re
import time
from math import floor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MONTHS = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
EPOCH = 719163                     # the ordinal of 1970-01-01
_MONTH = {name.lower(): number for number, name in enumerate(MONTHS, 1)}
_DATE = re.compile(rb"(\d{1,2})-([A-Za-z]{3})-(\d{4})")
_TIME = re.compile(rb" ?(\d{1,2})-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)")


def parse_date(data: bytes) -> int:
    """The day as a proleptic ordinal (``date.toordinal``); ValueError."""
    match = _DATE.fullmatch(data)
    if match is None:
        raise ValueError("not a date")
    return _ordinal(match[1], match[2], match[3])


def _ordinal(day: bytes, month: bytes, year: bytes) -> int:
    number = _MONTH.get(month.lower())
    if number is None:
        raise ValueError("not a month")
    from datetime import date
    return date(int(year), number, int(day)).toordinal()


def parse_datetime(data: bytes) -> int:
    """Seconds since 1970 UTC; ValueError."""
    match = _TIME.fullmatch(data)
    if match is None:
        raise ValueError("not a date and time")
    hour, minute, second = int(match[4]), int(match[5]), int(match[6])
    if hour > 23 or minute > 59 or second > 60:
        raise ValueError("not a time of day")
    days = _ordinal(match[1], match[2], match[3]) - EPOCH
    offset = (int(match[8]) * 60 + int(match[9])) * 60
    return days * 86400 + hour * 3600 + minute * 60 + second - (offset if match[7] == b"+" else -offset)


# Mail of many days asks for each of them many times.  The offset of the local time in seconds is found out
# for some days at once, by their ends: since 1970 no zone has changed it and changed it back within six days.
DAY = 86400                        # seconds
SOME_DAYS = 4 * DAY
_OFFSETS: dict[int, tuple[int | None, list[bytes]]] = {}       # some days -> offset or None, and its _ENDS
_STARTS: dict[int, int] = {}       # some days -> offset at their begin, which ends those before
_ENDS: dict[int, list[bytes]] = {}         # offset -> seconds of a minute with zone and quote behind them
_DATES: dict[int, bytes] = {}      # local day -> its date with the quote before it
# and the minutes of a day
_MINUTES = [b" %02d:%02d:" % divmod(minute, 60) for minute in range(24 * 60)]
_MOST = 4000                       # eleven years of days; beyond, all begin anew


def internaldate(unix: float) -> bytes:
    """A quoted date-time in the local time zone, two digits for the day."""
    return internaldates((unix,))[0]


def internaldates(times: Iterable[float]) -> list[bytes]:
    """``internaldate`` of each."""
    offsets, days, minutes = _OFFSETS.get, _DATES.get, _MINUTES
    found = []
    for second in map(floor, times):
        offset, ends = offsets(second // SOME_DAYS) or _offset(second // SOME_DAYS)
        if offset is None:
            offset = time.localtime(second).tm_gmtoff
            ends = _ends(offset)
        second += offset
        found.append((days(second // DAY) or _local_date(second // DAY))
                     + minutes[second % DAY // 60] + ends[second % 60])
    return found


def _offset(some: int) -> tuple[int | None, list[bytes]]:
    if len(_OFFSETS) >= _MOST:
        _OFFSETS.clear()
        _STARTS.clear()
    first, last = _STARTS.get(some), _STARTS.get(some + 1)
    if first is None:
        first = _STARTS[some] = time.localtime(some * SOME_DAYS).tm_gmtoff
    if last is None:
        last = _STARTS[some + 1] = time.localtime((some + 1) * SOME_DAYS).tm_gmtoff
    value = _OFFSETS[some] = first if first == last else None, _ends(first)
    return value


def _ends(offset: int) -> list[bytes]:
    found = _ENDS.get(offset)
    if found is None:
        zone = _zone(offset)
        found = _ENDS[offset] = [b"%02d %s" % (second, zone) for second in range(60)]
    return found


def _local_date(day: int) -> bytes:
    """Remembers the whole month."""
    if len(_DATES) >= _MOST:
        _DATES.clear()
    when = time.gmtime(day * DAY)
    first = day - when.tm_mday + 1
    rest = b"-%s-%04d" % (MONTHS[when.tm_mon - 1], when.tm_year)
    for number in range(28 if when.tm_mon == 2 else 30):       # other days are asked for one by one
        _DATES[first + number] = b'"%02d%s' % (number + 1, rest)
    value = _DATES[day] = b'"%02d%s' % (when.tm_mday, rest)
    return value


def _zone(offset: int) -> bytes:
    sign, minutes = (b"-", -(offset // 60)) if offset < 0 else (b"+", offset // 60)
    return b'%s%02d%02d"' % (sign, minutes // 60, minutes % 60)
