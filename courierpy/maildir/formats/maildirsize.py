"""The file ``maildirsize``: the quota of a Maildir++, and what counts against it.

Courier, maildrop and deliverquota write the same file, so that this is theirs byte for byte::

    100000S,50C
               36            2
              -18           -1

The first line has the limits: octets (``S``), messages (``C``).  Each of the others is a change, of octets
and of messages, and all of them together are what there is.  A program adds a line for what it did, by one
write() to the end of the file; it gets a new one, of two lines, when all messages are counted again.
"""
from __future__ import annotations

import re

from courierpy.model.numbers import MOST

LARGEST_OCTETS = 5120              # a file as large as this is not read any more, and made anew

_LIMIT = re.compile(rb"([0-9]{1,20})([SC])")
_LIMITS = re.compile(rb"\s*(?:[0-9]{1,20}[SC](?:,[0-9]{1,20}[SC])*)?\s*")
_CHANGE = re.compile(rb"\s*([+-]?[0-9]{1,18})\s+([+-]?[0-9]{1,18})")
_CHANGES = re.compile(rb"(?: {0,12}-?[0-9]{1,18} {1,13}-?[0-9]{1,18}\n)*")
_DIGITS = re.compile(rb"[0-9]{0,19}")
_DELETED = re.compile(rb"[A-Z]*T")


class Amount:
    """Octets and messages: that are there, that come, or (below 0) that go."""

    __slots__ = ("messages", "octets")

    def __init__(self, octets: int = 0, messages: int = 0) -> None:
        self.octets = octets
        self.messages = messages

    def __add__(self, other: Amount) -> Amount:
        return Amount(self.octets + other.octets, self.messages + other.messages)

    def __neg__(self) -> Amount:
        return Amount(-self.octets, -self.messages)

    def __bool__(self) -> bool:
        return bool(self.octets or self.messages)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Amount) and (self.octets, self.messages) == (other.octets, other.messages)

    def __hash__(self) -> int:
        return hash((self.octets, self.messages))

    def __repr__(self) -> str:
        return f"Amount({self.octets}, {self.messages})"

    def line(self) -> bytes:
        """The line of this change."""
        return b"%12d %12d\n" % (self.octets, self.messages)


NOTHING = Amount()


class Limits(Amount):
    """What may be there; 0 is no limit, as where there is none."""

    __slots__ = ()

    def excess(self, there: Amount, more: Amount) -> bool:
        """Would ``more``, beside what is ``there``, be too much?  What does not grow never is."""
        return (0 < self.octets < there.octets + more.octets and more.octets > 0
                or 0 < self.messages < there.messages + more.messages and more.messages > 0)

    def percent(self, there: Amount) -> int:
        """How much of the limit that is nearest is used; 0 without limits."""
        return max((part * 100 // whole for part, whole in ((there.octets, self.octets),
                                                            (there.messages, self.messages)) if whole),
                   default=0)

    def line(self) -> bytes:
        """The first line of the file."""
        words = [b"%d%s" % (limit, letter) for limit, letter in ((self.octets, b"S"), (self.messages, b"C"))
                 if limit]
        return b",".join(words) + b"\n"


def is_limits(text: bytes) -> bool:
    """Are these limits and nothing else?  Courier warns of others, and takes of them what it can."""
    return _LIMITS.fullmatch(text) is not None


def limits(text: bytes) -> Limits:
    """What a first line says, or a setting: the last of each letter counts."""
    found = {match[2]: min(int(match[1]), MOST) for match in _LIMIT.finditer(text)}
    return Limits(found.get(b"S", 0), found.get(b"C", 0))


class MaildirSize:
    """What a file says.  ``changes``: how many lines it has behind the first."""

    __slots__ = ("changes", "limits", "there")

    def __init__(self, limits: Limits, there: Amount, changes: int) -> None:
        self.limits = limits
        self.there = there
        self.changes = changes

    def octets(self) -> bytes:
        """The file that says only this."""
        return self.limits.line() + self.there.line()


def parse(data: bytes) -> MaildirSize | None:
    """What the octets of a file say, or as many of them as are read; None where the messages have to be
    counted again."""
    if len(data) >= LARGEST_OCTETS or not data.endswith(b"\n"):
        return None
    first, _, rest = data.partition(b"\n")
    if _CHANGES.fullmatch(rest):
        numbers = [*map(int, rest.split())]
    else:                              # somebody wrote by hand: what is no change counts nothing
        found = [_CHANGE.match(line) for line in rest[:-1].split(b"\n")]
        numbers = [int(number) for match in found for number in (match.groups() if match else (0, 0))]
    octets, messages = sum(numbers[::2]), sum(numbers[1::2])
    if octets < 0 or messages < 0:
        return None
    return MaildirSize(limits(first), Amount(octets, messages), len(numbers) // 2)


def counts(file: bytes) -> bool:
    """Does a file of this name in cur/ or new/ count?  Not with the letter T, for \\Deleted."""
    return not file.startswith(b".") and _DELETED.match(file.partition(b":2,")[2]) is None


def octets_of(file: bytes) -> int:
    """The octets that the name of a file says that it has, -1 where it does not.  The others believe it."""
    _, found, tail = file.partition(b":")[0].rpartition(b",S=")
    if not found:
        return -1
    digits = tail[:len(_DIGITS.match(tail)[0])]  # type: ignore[index]
    return int(digits or b"0") if len(digits) < 19 else -1
