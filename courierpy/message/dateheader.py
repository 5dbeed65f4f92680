"""The Date header: the sender's own day, and the moment.  RFC 5322 3.3, RFC 5256 2.2."""
from __future__ import annotations

import re
from datetime import date

from courierpy.message.lexical import masked

# blanks may stand around the colons too (RFC 5322 4.3); some write dots
_TIME = (r"(?P<hour>\d{1,2})\s*[:.]\s*(?P<minute>\d\d)(?:\s*[:.]\s*(?P<second>\d\d)(?:[.,]\d{1,9})?)?"
         r"(?:\s*(?P<offset>[+-]\d{3,4}|[+-]\d\d:\d\d)|\s*(?P<zone>[A-Za-z]{1,4}))?")
_USUAL = re.compile(r"(?P<day>\d{1,2})(?:\s+|-)(?P<month>[A-Za-z]{3})[A-Za-z]*\.?(?:\s+|-)(?P<year>\d{2,4})"
                    rf"(?:\s+{_TIME})?")
# what else stands in mail: as asctime(3) has it, the month first, and as ISO 8601
_OTHERS = (re.compile(rf"(?P<month>[A-Za-z]{{3}})\s+(?P<day>\d{{1,2}})\s+{_TIME}\s+(?P<year>\d{{4}})"),
           re.compile(r"(?<![A-Za-z])(?P<month>[A-Za-z]{3})[a-z]{0,6}\.?\s+(?P<day>\d{1,2})(?:\s*,\s*|\s+)(?P<year>\d{4})"
                      rf"(?:\s+{_TIME})?"),
           re.compile(rf"(?P<year>\d{{4}})-(?P<month>\d\d)-(?P<day>\d\d)(?:[T\s]\s*{_TIME})?"))
_MONTHS = {name: at for at, name in enumerate(
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"], 1)}
_ZONES = {"est": -300, "edt": -240, "cst": -360, "cdt": -300, "mst": -420, "mdt": -360, "pst": -480,
          "pdt": -420}
_MONTHS |= {f"{at:02}": at for at in _MONTHS.values()}
_EPOCH = date(1970, 1, 1).toordinal()


def day(value: bytes) -> int | None:
    """The day that a Date value names, as a proleptic ordinal; None when it names none."""
    return _read(value)[1]


def moment(value: bytes) -> float | None:
    """A Date value as seconds since 1970 UTC; None when it names no day."""
    match, ordinal = _read(value)
    if match is None or ordinal is None:
        return None
    hour, minute, second = (int(match[part] or 0) for part in ("hour", "minute", "second"))
    if hour > 23 or minute > 59 or second > 60:
        hour = minute = second = 0             # RFC 5256 2.2
    minutes = _offset(match["offset"]) if match["offset"] else _ZONES.get((match["zone"] or "").lower(), 0)
    return (ordinal - _EPOCH) * 86400.0 + hour * 3600 + minute * 60 + second - minutes * 60


def _offset(text: str) -> int:
    """Minutes of an offset; one that cannot be counts as UTC."""
    digits = text[1:].replace(":", "").zfill(4)
    hours, minutes = int(digits[:2]), int(digits[2:])
    if hours > 23 or minutes > 59:
        return 0
    return (hours * 60 + minutes) * (-1 if text[0] == "-" else 1)


def _read(value: bytes) -> tuple[re.Match[str] | None, int | None]:
    """The first way to read it that gives a day, and that day's ordinal."""
    text = masked(value).decode("latin-1")
    for pattern in (_USUAL, *_OTHERS):
        match = pattern.search(text)
        ordinal = _day(match) if match is not None else None
        if ordinal is not None:
            return match, ordinal
    return None, None


def _day(match: re.Match[str]) -> int | None:
    year = int(match["year"])
    if len(match["year"]) == 2:
        year += 2000 if year < 50 else 1900
    elif len(match["year"]) == 3:
        year += 1900
    try:
        return date(year, _MONTHS[match["month"].lower()], int(match["day"])).toordinal()
    except (KeyError, ValueError):
        return None
