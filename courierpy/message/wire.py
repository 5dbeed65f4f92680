"""Where octets on disk stand on the wire: every LF without a CR before it gets one.

A literal's length must be known before its first octet goes out, and a client may ask for
any piece of it.  So the line feeds are counted once, a step of the file after the other and
no further than somebody asked; what was counted gives the place of any octet by looking at
one step.
"""
from __future__ import annotations

from array import array
from bisect import bisect_right

from courierpy.message.headers import CR, wire_form

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from courierpy.message.source import Octets

STEP_OCTETS = 64 * 1024
STEPS = 4                          # that are counted at once
PIECE_OCTETS = 128 * 1024          # on disk, that are made ready for the wire at once


class Wire:
    """The wire form of ``data``, which is not made as a whole."""

    __slots__ = ("_starts", "data")

    def __init__(self, data: Octets) -> None:
        self.data = data
        self._starts = array("Q", [0])     # where each step of the file begins on the wire, as far as known

    def _next(self) -> None:
        """Count some steps more."""
        start = (len(self._starts) - 1) * STEP_OCTETS
        before = 1 if start else 0
        block = self.data[start - before:start + STEPS * STEP_OCTETS]
        for at in range(before, len(block), STEP_OCTETS):
            step = block[at:at + STEP_OCTETS]
            last = block[at - 1:at] if at else b""
            self._starts.append(self._starts[-1] + len(step) + _bare(last + step, len(last)))

    def _bare_in(self, start: int, stop: int) -> int:
        """Line feeds without a CR before them, from here to there, which is not far."""
        before = 1 if start else 0
        return _bare(self.data[start - before:stop], before)

    def at(self, place: int) -> int:
        """Where on the wire the octet stands that is at ``place`` on disk."""
        step = place // STEP_OCTETS
        while len(self._starts) <= step:
            self._next()
        start = step * STEP_OCTETS
        return self._starts[step] + place - start + (self._bare_in(start, place) if place > start else 0)

    @property
    def size(self) -> int:
        """Octets of the whole wire form."""
        return self.at(len(self.data))

    def step_of(self, there: int) -> int:
        """The place on disk, a step's beginning, from which an octet of the wire is not far."""
        while self._starts[-1] <= there and (len(self._starts) - 1) * STEP_OCTETS < len(self.data):
            self._next()
        return (bisect_right(self._starts, there) - 1) * STEP_OCTETS

    def octets(self, start: int, stop: int) -> bytes:
        """The wire form of what stands there on disk."""
        data = wire_form(self.data[start:stop])
        if start and data.startswith(b"\r\n") and self.data[start - 1:start + 1] == b"\r\n":
            return data[1:]            # its CR is the one before
        return data


def _bare(block: bytes, first: int) -> int:
    """Line feeds from ``first`` on without a CR before them."""
    if CR in block:
        return block.count(b"\n", first) - block.count(b"\r\n")
    lines = len(block) - len(block.replace(b"\n", b""))       # sooner than to count them
    return lines - block.startswith(b"\n") if first else lines


class Extent:
    """Octets of a message as a client gets them: ``start``..``stop`` on disk, of their wire
    form ``count`` from ``skip`` on.  Iterating gives len() of them; others, or more or fewer,
    where somebody changed the file since it was counted."""

    __slots__ = ("_count", "_skip", "_start", "_stop", "_to_end", "_wire")

    def __init__(self, wire: Wire, start: int, stop: int, skip: int = 0, count: int | None = None) -> None:
        self._wire = wire
        self._start = start
        self._stop = stop
        self._skip = skip
        self._count = count
        self._to_end = False

    def cut(self, skip: int, count: int | None) -> Extent:
        """A piece of it: BODY[]<skip.count>.  RFC 9051 6.4.5."""
        return Extent(self._wire, self._start, self._stop, skip, count)

    def __len__(self) -> int:
        """Without counting all of it where the piece is inside for certain."""
        if self._count is None or self._skip + self._count > self._stop - self._start:
            size = self._wire.at(self._stop) - self._wire.at(self._start)
            most = max(0, size - self._skip)
            self._to_end = self._count is None or self._count >= most
            self._count = most if self._to_end else self._count
        return self._count or 0

    def __iter__(self) -> Iterator[bytes]:
        left = len(self)
        if not left:
            return
        wire, stop = self._wire, self._stop
        there = wire.at(self._start) + self._skip
        at = max(self._start, wire.step_of(there))
        skip = there - wire.at(at)
        while at < stop and (left > 0 or self._to_end):
            # the wire form is never shorter than what is on disk
            end = min(stop, at + min(PIECE_OCTETS, skip + max(1, left)))
            data = wire.octets(at, end)
            piece = data[skip:] if self._to_end else data[skip:skip + left]
            skip, at = max(0, skip - len(data)), end
            left -= len(piece)
            if piece:
                yield piece
