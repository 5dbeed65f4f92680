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


def with_defaults(options: str, defaults: str) -> str:
    """The options, and each of the defaults whose name none of them has."""
    found = [one for one in options.split(SEPARATE) if one.strip()]
    names = {one.partition("=")[0].strip() for one in found}
    found += [one.strip() for one in defaults.split(SEPARATE)
              if one.strip() and one.partition("=")[0].strip() not in names]
    return SEPARATE.join(found)


def says_yes(options: str, wanted: str) -> bool:
    """Is this option on, with a number above 0 or a word that begins with t or y?  One without a value is
    not."""
    if wanted not in options:
        return False                   # mostly
    value = option(options, wanted)
    return value[:1] in ("t", "T", "y", "Y") or bool(decimal(value))
