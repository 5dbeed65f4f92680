"""Dates of IMAP: ``4-Jan-2024`` and ``" 4-Jan-2024 14:00:00 +0100"``.  RFC 9051 9."""
from __future__ import annotations

import re
import time

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
_ZONES: dict[int, bytes] = {}      # offset -> how it is spelled
_DATES: dict[int, bytes] = {}
# how they stand in a time: what many dates are put together of
_HOURS, _MINUTES, _SECONDS = ([form % number for number in range(60)]
                              for form in (b" %02d:", b"%02d:", b"%02d "))
_MOST = 4000                       # eleven years of days; beyond, all begin anew


def internaldate(unix: float) -> bytes:
    """A quoted date-time in the local time zone, two digits for the day."""
    day, second = divmod(int(unix // 1), 86400)
    offset, zone = _OFFSETS.get(day) or _offset(day)
    if offset is None:
        local = time.localtime(unix)
        return b'"%s %02d:%02d:%02d %s"' % (_date(local), local.tm_hour, local.tm_min, local.tm_sec,
                                            _zone(local.tm_gmtoff))
    second += offset
    if not 0 <= second < 86400:
        day += second // 86400
        second %= 86400
    return b'"%s %02d:%02d:%02d %s"' % (_DATES.get(day) or _local_date(day), second // 3600,
                                        second // 60 % 60, second % 60, zone)


def internaldates(times: Iterable[float]) -> list[bytes]:
    """``internaldate`` of each."""
    offsets, days = _OFFSETS.get, _DATES.get
    found = []
    for unix in times:
        day, second = divmod(int(unix // 1), 86400)
        offset, zone = offsets(day) or _offset(day)
        if offset is None:
            found.append(internaldate(unix))
            continue
        if offset:
            more, second = divmod(second + offset, 86400)
            day += more
        minute = second // 60
        found.append(b"".join((b'"', days(day) or _local_date(day), _HOURS[minute // 60],
                               _MINUTES[minute % 60], _SECONDS[second % 60], zone, b'"')))
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
        _DATES[first + number] = b"%02d%s" % (number + 1, rest)
    value = _DATES[day] = _date(when)
    return value


def _date(when: time.struct_time) -> bytes:
    return b"%02d-%s-%04d" % (when.tm_mday, MONTHS[when.tm_mon - 1], when.tm_year)


def _zone(offset: int) -> bytes:
    sign, minutes = (b"-", -(offset // 60)) if offset < 0 else (b"+", offset // 60)
    return b"%s%02d%02d" % (sign, minutes // 60, minutes % 60)
