"""Sets of UIDs, as the runs in which they come: what is recent is mostly what came last."""
from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def runs(numbers: Sequence[int], start: int = 0, stop: int | None = None) -> list[tuple[int, int]]:
    """(first, last) of the numbers that follow one another, of ascending ``numbers[start:stop]``."""
    stop = len(numbers) if stop is None else stop
    found = []
    while start < stop:
        first = numbers[start]
        end = start + 1
        if end < stop and numbers[end] == first + 1:
            # in a run number - position stays the same, behind it it is higher
            end = bisect_left(range(start, stop), True,
                              key=lambda at: numbers[at] - at > first - start) + start
        found.append((first, numbers[end - 1]))
        start = end
    return found


def places(uids: array[int], wanted: Sequence[int]) -> Sequence[int]:
    """The place of each of ``wanted`` in ``uids``, -1 where it has none; both ascend.  A range where those
    that are wanted stand one behind the other."""
    most = len(uids)
    if len(wanted) > 1:
        first = bisect_left(uids, wanted[0])
        if uids[first:first + len(wanted)] == array("I", wanted):
            return range(first, first + len(wanted))
    elif wanted:
        at = bisect_left(uids, wanted[0])
        return [at if at < most and uids[at] == wanted[0] else -1]
    found = []
    for uid in wanted:
        at = bisect_left(uids, uid)
        found.append(at if at < most and uids[at] == uid else -1)
    return found


class UidSet:
    """Never changed once made.  ``runs``: (first, last), ascending, with gaps between them."""

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, runs: Iterable[tuple[int, int]] = ()) -> None:
        """Of runs whose firsts ascend; they may meet or overlap."""
        firsts, lasts = array("I"), array("I")
        for first, last in runs:
            if lasts and first <= lasts[-1] + 1:
                lasts[-1] = max(lasts[-1], last)
            else:
                firsts.append(first)
                lasts.append(last)
        self._firsts, self._lasts = firsts, lasts

    @classmethod
    def of(cls, uids: Sequence[int]) -> UidSet:
        """The set of these UIDs, which ascend."""
        return cls(runs(uids)) if uids else NO_UIDS

    @property
    def runs(self) -> list[tuple[int, int]]:
        return list(zip(self._firsts, self._lasts, strict=True))

    def __contains__(self, uid: int) -> bool:
        at = bisect_right(self._firsts, uid) - 1
        return at >= 0 and uid <= self._lasts[at]

    def __iter__(self) -> Iterator[int]:
        for first, last in self.runs:
            yield from range(first, last + 1)

    def __len__(self) -> int:
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    def __bool__(self) -> bool:
        return bool(self._firsts)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UidSet) and (self._firsts, self._lasts) == (other._firsts, other._lasts)

    def __hash__(self) -> int:
        return hash((bytes(self._firsts), bytes(self._lasts)))

    def __repr__(self) -> str:
        return f"UidSet({self.runs!r})"

    def __or__(self, other: UidSet) -> UidSet:
        if not self or not other:
            return self or other
        return UidSet(sorted(self.runs + other.runs))

    def __sub__(self, other: UidSet) -> UidSet:
        if not self or not other:
            return self
        left = []
        for first, last in self.runs:
            at = bisect_left(other._lasts, first)
            while at < len(other._firsts) and other._firsts[at] <= last:
                if first < other._firsts[at]:
                    left.append((first, other._firsts[at] - 1))
                first = other._lasts[at] + 1
                at += 1
            if first <= last:
                left.append((first, last))
        return UidSet(left)

    def marks(self, uids: Sequence[int]) -> bytes:
        """1 for each of ``uids``, which ascend, that is in the set, 0 for the others."""
        found = bytearray(len(uids))
        if uids and self._firsts:
            start = 0
            for at in range(bisect_left(self._lasts, uids[0]), bisect_right(self._firsts, uids[-1])):
                start = bisect_left(uids, self._firsts[at], start)
                stop = bisect_right(uids, self._lasts[at], start)
                found[start:stop] = b"\1" * (stop - start)
        return bytes(found)

    def within(self, uids: Sequence[int]) -> UidSet:
        """Those that are among ``uids``, which ascend."""
        found = []
        for first, last in self.runs:
            start = bisect_left(uids, first)
            found += runs(uids, start, bisect_right(uids, last, start))
        return UidSet(found) if found else NO_UIDS


NO_UIDS = UidSet()
