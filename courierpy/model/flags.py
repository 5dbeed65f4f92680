"""Message flags: one int of bits.  Keywords are ASCII ``bytes`` as first spelled."""
from __future__ import annotations

# System flags as bits, in no particular order; the store maps them to letters,
# the wire to names.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16

NO_KEYWORDS: frozenset[bytes] = frozenset()


class FlagChange:
    """A change of flags: ``mode`` is "+", "-" or "=", ``flags`` bits."""

    __slots__ = ("flags", "keywords", "mode")

    def __init__(self, mode: str, flags: int, keywords: frozenset[bytes] = NO_KEYWORDS) -> None:
        self.mode = mode
        self.flags = flags
        self.keywords = keywords

    def bits(self, old: int) -> int:
        """The flag bits that a message with ``old`` has after the change."""
        if self.mode == "+":
            return old | self.flags
        if self.mode == "-":
            return old & ~self.flags
        return self.flags

    def bits_after(self) -> bytes:
        """bits() of all flag bits that there can be, at their place."""
        if self.mode == "=":
            return bytes((self.flags,)) * 32
        given = self.flags                 # no call for each: one message alone wants this too
        return bytes([old | given for old in range(32)] if self.mode == "+"
                     else [old & ~given for old in range(32)])

    def after(self) -> Mapping[frozenset[bytes], frozenset[bytes]]:
        """words() of any keywords; the same object for equal ones, however many messages have them."""
        return _After(self)

    def words(self, old: frozenset[bytes]) -> frozenset[bytes]:
        """The keywords after the change; compared without regard to case."""
        if not self.keywords and self.mode != "=":
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
