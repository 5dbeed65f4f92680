"""Sets of message numbers: ``1,3:5,7:*``.  RFC 9051 9, sequence-set."""
from __future__ import annotations

from itertools import islice

from courierpy.model.regex import later
from courierpy.model.replies import Bad

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_NUMBER = 0xFFFFFFFF        # RFC 9051 9, nz-number
RUNS_AT_ONCE = 2048             # that are made into octets together
COLON, COMMA = b":,"
STAR = MAX_NUMBER + 1           # `*`: the largest number in use
_SET = later(rb"(?:[1-9]\d{0,9}|\*)(?::(?:[1-9]\d{0,9}|\*))?"
                  rb"(?:,(?:[1-9]\d{0,9}|\*)(?::(?:[1-9]\d{0,9}|\*))?)*")


class NumSet:
    """A set of messages as a command names it.

    ``ranges``: (first, last) as written; STAR for `*`.  ``saved``: and those of the saved result, `$`."""

    __slots__ = ("ranges", "saved")

    def __init__(self, ranges: tuple[tuple[int, int], ...], saved: bool = False) -> None:
        self.ranges = ranges
        self.saved = saved

    @classmethod
    def parse(cls, data: bytes) -> NumSet:
        """Raises Bad."""
        if data == b"$":
            return cls((), True)
        saved = data.endswith(b",$")       # RFC 5182 3: only as the last
        data = data.removesuffix(b",$")
        if not _SET.fullmatch(data):
            raise Bad("Invalid message set.")
        if COLON not in data and COMMA not in data:    # most often it is one
            low = _number(data)
            return cls(((low, low),), saved)
        ranges = []
        for part in data.split(b","):
            first, colon, last = part.partition(b":")
            low = _number(first)
            ranges.append((low, _number(last) if colon else low))
        return cls(tuple(ranges), saved)

    @classmethod
    def of(cls, numbers: Iterable[int]) -> NumSet:
        return cls(tuple(_runs(numbers)))

    def resolve(self, largest: int) -> list[tuple[int, int]]:
        """Ascending, merged ranges; `*` is ``largest``, order within a range does not matter.

        With ``largest`` 0 (an empty mailbox) `*` stands for nothing.
        """
        found = []
        for first, last in self.ranges:
            if not largest and STAR in (first, last):
                continue
            low = largest if first == STAR else first
            high = largest if last == STAR else last
            found.append((low, high) if low <= high else (high, low))
        if len(found) < 2:
            return found
        found.sort()
        merged: list[tuple[int, int]] = []
        for low, high in found:
            if merged and low <= merged[-1][1] + 1:
                if high > merged[-1][1]:
                    merged[-1] = (merged[-1][0], high)
            else:
                merged.append((low, high))
        return merged

    def __eq__(self, other: object) -> bool:
        return isinstance(other, NumSet) and (self.ranges, self.saved) == (other.ranges, other.saved)

    def __hash__(self) -> int:
        return hash((self.ranges, self.saved))

    def __bytes__(self) -> bytes:
        parts = [_text(low) if low == high else _text(low) + b":" + _text(high) for low, high in self.ranges]
        return b",".join([*parts, b"$"] if self.saved else parts)

    def __repr__(self) -> str:
        return f"NumSet({bytes(self).decode()!r})"


def _number(data: bytes) -> int:
    if data == b"*":
        return STAR
    number = int(data)
    if number > MAX_NUMBER:
        raise Bad("Invalid message set.")
    return number


def _text(number: int) -> bytes:
    return b"*" if number == STAR else b"%d" % number


def _runs(numbers: Iterable[int]) -> Iterable[tuple[int, int]]:
    start = last = 0
    for number in numbers:
        if start and number == last + 1:
            last = number
            continue
        if start:
            yield start, last
        start = last = number
    if start:
        yield start, last


def compact(numbers: Iterable[int]) -> bytes:
    """Numbers in the order given, ascending runs as ranges: ``40,1:3,2``."""
    return bytes(NumSet.of(numbers))


def compact_pieces(numbers: Iterable[int]) -> Iterator[bytes]:
    """As compact(), in pieces: of a large mailbox it is long."""
    return compact_runs(_runs(numbers))


def compact_runs(runs: Iterable[tuple[int, int]]) -> Iterator[bytes]:
    """As compact_pieces(), of runs."""
    left = iter(runs)
    comma = b""
    while some := tuple(islice(left, RUNS_AT_ONCE)):
        yield comma + bytes(NumSet(some))
        comma = b","
