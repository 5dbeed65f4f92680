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


# Mail of many days asks for each of them many times.  Day of UTC -> (offset of the local
# time in seconds, or None on a day that changes it; how it is spelled); local day -> its date.
_OFFSETS: dict[int, tuple[int | None, bytes]] = {}
_STARTS: dict[int, int] = {}       # day of UTC -> offset at its begin, which ends the day before
_ZONES: dict[int, bytes] = {}      # offset -> how it is spelled, and the quote behind it
_DATES: dict[int, bytes] = {}      # with the quote before it
# what many dates are put together of: the minutes of a day, and the seconds of a minute
_MINUTES = [b" %02d:%02d:" % divmod(minute, 60) for minute in range(24 * 60)]
_SECONDS = [b"%02d " % second for second in range(60)]
_MOST = 4000                       # eleven years of days; beyond, all begin anew


def internaldate(unix: float) -> bytes:
    """A quoted date-time in the local time zone, two digits for the day."""
    return internaldates((unix,))[0]


def internaldates(times: Iterable[float]) -> list[bytes]:
    """``internaldate`` of each."""
    offsets, days = _OFFSETS.get, _DATES.get
    minutes, seconds = _MINUTES, _SECONDS
    found = []
    for unix in times:
        second = floor(unix)
        day = second // 86400
        offset, zone = offsets(day) or _offset(day)
        if offset != 0:
            if offset is None:
                local = time.localtime(second)
                offset, zone = local.tm_gmtoff, _zone(local.tm_gmtoff)
            second += offset
            day = second // 86400
        found.append((days(day) or _local_date(day)) + minutes[second % 86400 // 60]
                     + seconds[second % 60] + zone)
    return found


def _offset(day: int) -> tuple[int | None, bytes]:
    if len(_OFFSETS) >= _MOST:
        _OFFSETS.clear()
        _STARTS.clear()
    first, last = _STARTS.get(day), _STARTS.get(day + 1)
    if first is None:
        first = _STARTS[day] = time.localtime(day * 86400).tm_gmtoff
    if last is None:
        last = _STARTS[day + 1] = time.localtime(day * 86400 + 86400).tm_gmtoff
    zone = _ZONES.get(first)
    if zone is None:
        zone = _ZONES[first] = _zone(first)
    value = _OFFSETS[day] = first if first == last else None, zone
    return value


def _local_date(day: int) -> bytes:
    """Remembers the whole month."""
    if len(_DATES) >= _MOST:
        _DATES.clear()
    when = time.gmtime(day * 86400)
    first = day - when.tm_mday + 1
    rest = b"-%s-%04d" % (MONTHS[when.tm_mon - 1], when.tm_year)
    for number in range(28 if when.tm_mon == 2 else 30):       # other days are asked for one by one
        _DATES[first + number] = b'"%02d%s' % (number + 1, rest)
    value = _DATES[day] = b'"%02d%s' % (when.tm_mday, rest)
    return value


def _zone(offset: int) -> bytes:
    sign, minutes = (b"-", -(offset // 60)) if offset < 0 else (b"+", offset // 60)
    return b'%s%02d%02d"' % (sign, minutes // 60, minutes % 60)
