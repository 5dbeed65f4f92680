"""Dates of IMAP: ``4-Jan-2024`` and ``" 4-Jan-2024 14:00:00 +0100"``.  RFC 9051 9."""
from __future__ import annotations

import re
import time

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


def internaldate(unix: float) -> bytes:
    """A quoted date-time in the local time zone, two digits for the day."""
    local = time.localtime(unix)
    offset = local.tm_gmtoff // 60
    sign, offset = (b"-", -offset) if offset < 0 else (b"+", offset)
    return b'"%02d-%s-%04d %02d:%02d:%02d %s%02d%02d"' % (
        local.tm_mday, MONTHS[local.tm_mon - 1], local.tm_year, local.tm_hour, local.tm_min,
        local.tm_sec, sign, offset // 60, offset % 60)
