"""Rights on a mailbox: letters of RFC 4314 2.1, as frozensets, and what they say of flags.

Of the two readings of RFC 2086's letters (RFC 4314 2.1.1) Courier's: ``c`` is ``k``, ``d`` is ``e``,
``t`` and ``x``.
"""
from __future__ import annotations

from courierpy.model.flags import DELETED, SEEN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from courierpy.model.flags import FlagChange

ALL_RIGHTS = frozenset("lrswipkxtea")
OWNER_RIGHTS = ALL_RIGHTS - {"p"}      # of who owns a mailbox that has no list, as Courier has it
OLDER = {"c": "k", "d": "etx"}         # letters of RFC 2086 -> those that they stand for
CHANGING = frozenset("ieswt")          # with one of them a mailbox is READ-WRITE: RFC 4314 5.2
FLAG_RIGHTS = frozenset("swt")
ALL_FLAGS = 31                         # bits of flags


def flags_of(rights: Collection[str]) -> tuple[int, bool]:
    """The bits of the flags that may be changed, and may keywords be?  RFC 4314 4."""
    bits = (SEEN if "s" in rights else 0) | (DELETED if "t" in rights else 0)
    return (bits | ALL_FLAGS & ~(SEEN | DELETED), True) if "w" in rights else (bits, False)


def limited(change: FlagChange, rights: Collection[str]) -> FlagChange | None:
    """What of a change the rights allow; None where they allow nothing of what it names.  RFC 4314 4:
    STORE does what it may."""
    if FLAG_RIGHTS.issubset(rights):
        return change
    bits, keywords = flags_of(rights)
    named = change.flags or change.keywords
    if not change.flags & bits and not (keywords and change.keywords) and (named or not bits):
        return None
    return change.within(bits, keywords)
