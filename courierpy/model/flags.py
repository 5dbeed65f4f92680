"""Message flags: one int of bits.  Keywords are ASCII ``bytes`` as first spelled."""
from __future__ import annotations

from itertools import repeat

# System flags as bits, in no particular order; the store maps them to letters,
# the wire to names.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16

IS_DELETED = bytes(bits & DELETED > 0 for bits in range(256))  # by flag bits
NO_KEYWORDS: frozenset[bytes] = frozenset()
_PLAIN = tuple([(bits, NO_KEYWORDS) for bits in range(32)])       # states without keywords
_AFTER: dict[tuple[str, int, int], bytes] = {}     # of a change's mode, flags and left: its bits_after()


def states(flags: Iterable[int], uids: Iterable[int],
           keywords: Mapping[int, frozenset[bytes]]) -> Iterator[tuple[int, frozenset[bytes]]]:
    """Flag bits and keywords of each of these messages, which have these flags.  ``keywords``: of those that
    have some, by UID.  Where none has, nothing is made for any of them."""
    if not keywords:
        return map(_PLAIN.__getitem__, flags)
    return zip(flags, map(keywords.get, uids, repeat(NO_KEYWORDS)), strict=True)


class FlagChange:
    """A change of flags: ``mode`` is "+", "-" or "=", ``flags`` bits.  ``left``: bits of flags that stay as
    they are, whatever the mode; ``leaves_keywords``: so do keywords."""

    __slots__ = ("flags", "keywords", "leaves_keywords", "left", "mode")

    def __init__(self, mode: str, flags: int, keywords: frozenset[bytes] = NO_KEYWORDS, left: int = 0,
                 leaves_keywords: bool = False) -> None:
        self.mode = mode
        self.flags = flags
        self.keywords = keywords
        self.left = left
        self.leaves_keywords = leaves_keywords

    def within(self, bits: int, keywords: bool) -> FlagChange:
        """What it does to flags of ``bits`` alone, and to keywords where that is True."""
        return FlagChange(self.mode, self.flags & bits, self.keywords if keywords else NO_KEYWORDS,
                          31 & ~bits, not keywords)

    def spelled(self, keywords: frozenset[bytes]) -> FlagChange:
        """The same with these keywords."""
        return FlagChange(self.mode, self.flags, keywords, self.left, self.leaves_keywords)

    @property
    def of_keywords(self) -> bool:
        """May it change a keyword?"""
        return bool(self.keywords) or self.mode == "=" and not self.leaves_keywords

    def bits(self, old: int) -> int:
        """The flag bits that a message with ``old`` has after the change."""
        if self.mode == "+":
            return old | self.flags
        if self.mode == "-":
            return old & ~self.flags
        return self.flags | old & self.left

    def bits_after(self) -> bytes:
        """bits() of all flag bits that there can be, at their place."""
        key = self.mode, self.flags, self.left
        found = _AFTER.get(key)
        if found is None:
            found = _AFTER[key] = bytes(map(self.bits, range(32)))
        return found

    def after(self) -> Mapping[frozenset[bytes], frozenset[bytes]]:
        """words() of any keywords; the same object for equal ones, however many messages have them."""
        return _After(self)

    def words(self, old: frozenset[bytes]) -> frozenset[bytes]:
        """The keywords after the change; compared without regard to case."""
        if not self.of_keywords:
            return old
        given = {word.lower() for word in self.keywords}
        if self.mode == "-":
            return frozenset(word for word in old if word.lower() not in given)
        kept = old if self.mode == "+" else frozenset(w for w in old if w.lower() in given)
        have = {word.lower() for word in kept}
        return kept | frozenset(word for word in self.keywords if word.lower() not in have)


class _After(dict[frozenset[bytes], frozenset[bytes]]):
    def __init__(self, change: FlagChange) -> None:
        super().__init__()
        self._change = change

    def __missing__(self, old: frozenset[bytes]) -> frozenset[bytes]:
        words = self[old] = self._change.words(old)
        return words
