"""The Date header: the sender's own day, and the moment.  RFC 5322 3.3, RFC 5256 2.2."""
from __future__ import annotations

import re
from datetime import date

from courierpy.message.lexical import masked

# blanks may stand around the colons too (RFC 5322 4.3)
_DAY = re.compile(r"(\d{1,2})\s+([A-Za-z]{3})[A-Za-z]*\.?\s+(\d{2,4})"
                  r"(?:\s+(\d{1,2})\s*:\s*(\d\d)(?:\s*:\s*(\d\d))?(?:\s*([+-]\d{4})|\s+([A-Za-z]{1,4}))?)?")
_MONTHS = {name: at for at, name in enumerate(
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
_ZONES = {"est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480,
          "pdt": -420}
_EPOCH = date(1970, 1, 1).toordinal()


def day(value: bytes) -> int | None:
    """The day that a Date value names, as a proleptic ordinal; None when it names none."""
    return _day(_match(value))


def moment(value: bytes) -> float | None:
    """A Date value as seconds since 1970 UTC; None when it names no day."""
    match = _match(value)
    ordinal = _day(match)
    if match is None or ordinal is None:
        return None
    hour, minute, second = int(match[4] or 0), int(match[5] or 0), int(match[6] or 0)
    if hour > 23 or minute > 59 or second > 60:
        hour = minute = second = 0             # RFC 5256 2.2
    zone = match[7] or match[8] or "+0000"
    if zone[0] in "+-":                        # an invalid zone counts as UTC
        offset = int(zone[1:3]) * 60 + int(zone[3:5]) if int(zone[1:3]) < 24 and int(zone[3:5]) < 60 else 0
        offset = -offset if zone[0] == "-" else offset
    else:
        offset = _ZONES.get(zone.lower(), 0)
    return (ordinal - _EPOCH) * 86400.0 + hour * 3600 + minute * 60 + second - offset * 60


def _match(value: bytes) -> re.Match[str] | None:
    return _DAY.search(masked(value).decode("latin-1"))


def _day(match: re.Match[str] | None) -> int | None:
    if match is None:
        return None
    year = int(match[3])
    if len(match[3]) == 2:
        year += 2000 if year < 50 else 1900
    elif len(match[3]) == 3:
        year += 1900
    try:
        return date(year, _MONTHS[match[2].lower()], int(match[1])).toordinal()
    except (KeyError, ValueError):
        return None
