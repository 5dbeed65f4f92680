"""The octets of a large message: in a file, read by offset, never held.

A ``MessageSource`` stands where the bytes of a small message stand: it has a length and
slices, find, count and startswith, and the same parser goes over both.  One window of the
file is kept, so that small steps forward cost no reading.  What reads the file is lent to
it, and may be taken away between two commands: what was found out by offsets stays true.
"""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Iterator

    Read = Callable[[int, int], bytes]

WINDOW_OCTETS = 128 * 1024


class MessageSource:
    """The octets of a message, read by offset.

    ``read``: gives exactly so many octets from an offset on, or raises; None while there is
    no file."""

    __slots__ = ("_at", "_read", "_size", "_window")

    def __init__(self, size: int, read: Read | None = None) -> None:
        self._size = size
        self._read = read
        self._at = 0
        self._window = b""

    @property
    def read(self) -> Read | None:
        return self._read

    @read.setter
    def read(self, read: Read | None) -> None:
        self._read = read
        self._window = b""             # of the file that was read by another one

    def _octets(self, start: int, count: int) -> bytes:
        assert self._read is not None
        return self._read(start, count)

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, part: slice) -> bytes:
        start, stop, _ = part.indices(self._size)
        if stop <= start:
            return b""
        if stop - start > WINDOW_OCTETS:
            return self._octets(start, stop - start)
        window = self._from(start, stop - start)
        return window[start - self._at:stop - self._at]

    def _from(self, start: int, count: int) -> bytes:
        """The window, moved when it does not hold these octets, as far as there are any."""
        if not self._at <= start or min(start + count, self._size) > self._at + len(self._window):
            self._window = self._octets(start, min(max(WINDOW_OCTETS, count), self._size - start))
            self._at = start
        return self._window

    def startswith(self, prefix: bytes | tuple[bytes, ...], start: int = 0) -> bool:
        longest = len(prefix) if isinstance(prefix, bytes) else max(map(len, prefix))
        return self[start:start + longest].startswith(prefix)

    def find(self, needle: bytes, start: int = 0, stop: int | None = None) -> int:
        stop = self._size if stop is None else min(stop, self._size)
        while start + len(needle) <= stop:
            window = self._from(start, len(needle))
            found = window.find(needle, start - self._at, stop - self._at)
            if found >= 0:
                return self._at + found
            start = self._at + len(window) - len(needle) + 1
        return -1

    def search(self, pattern: re.Pattern[bytes], longest: int, start: int,
               stop: int) -> tuple[int, int] | None:
        """Where the first match stands, and where it ends; no match has more than ``longest`` octets."""
        while start < stop:
            window = self._from(start, longest)
            found = pattern.search(window, start - self._at, min(stop - self._at, len(window)))
            if found is not None:
                return self._at + found.start(), self._at + found.end()
            start = max(start, self._at + len(window) - longest) + 1
        return None

    def count(self, needle: bytes, start: int, stop: int) -> int:
        """How often ``needle``, one octet or two different ones, stands there."""
        total, more = 0, len(needle) - 1
        first = needle[0]
        for at, window in self.windows(start, stop):
            if first in window:
                total += window.count(needle)
            if more and window[-1] == first and at + len(window) < stop:      # across two windows
                total += self[at + len(window):at + len(window) + 1] == needle[1:]
        return total

    def windows(self, start: int, stop: int) -> Iterator[tuple[int, bytes]]:
        """(offset, octets) one after another."""
        while start < stop:
            count = min(WINDOW_OCTETS, stop - start)
            yield start, self[start:start + count]
            start += count


Octets = bytes | MessageSource
