"""Options of an account: ``name=value,name=value``, as Courier's modules give them."""
from __future__ import annotations

from courierpy.model.numbers import decimal

SEPARATE = ","


def option(options: str, wanted: str) -> str:
    """The value of the first option of that name, as Courier takes it; "" without one."""
    for one in options.split(SEPARATE):
        name, _, value = one.partition("=")
        if name.strip() == wanted:
            return value.strip()
    return ""


def says_yes(options: str, wanted: str) -> bool:
    """Is this option on, with a number above 0 or a word that begins with t or y?  One without a value is
    not."""
    value = option(options, wanted)
    return value[:1] in ("t", "T", "y", "Y") or bool(decimal(value))
