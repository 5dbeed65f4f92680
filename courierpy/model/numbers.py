"""Decimal numbers, as files, names, settings and other programs write them."""
from __future__ import annotations

MOST = (1 << 63) - 1
PID_MOST = (1 << 31) - 1           # pid_t
_DIGITS = 20                       # more are no number of anybody


def decimal(text: str | bytes, most: int = MOST) -> int | None:
    """The number that these digits are; None of anything else, and of one above ``most``.

    int() alone takes signs, blanks, underscores and digits of all scripts, and raises
    ValueError for some thousand digits; isdigit() is true of digits that int() does not take.
    """
    if not 0 < len(text) <= _DIGITS or not text.isascii() or not text.isdigit():
        return None
    number = int(text)
    return number if number <= most else None
