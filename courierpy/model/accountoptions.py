"""Options of an account: ``name=value,name=value``, as Courier's modules give them."""
from __future__ import annotations

from courierpy.model.numbers import is_on

SEPARATE = ","


def option(options: str, wanted: str) -> str:
    """The value of the first option of that name, as Courier takes it; "" without one."""
    for one in options.split(SEPARATE):
        name, _, value = one.partition("=")
        if name.strip() == wanted:
            return value.strip()
    return ""


def says_yes(options: str, wanted: str) -> bool:
    """Is this option on?  One without a value is not."""
    return is_on(option(options, wanted))
