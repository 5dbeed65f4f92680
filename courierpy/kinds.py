"""Words that several rooms share: small values without behaviour.

Message flags are one int of bits; keywords are ASCII ``bytes`` as first
spelled.  A ``uid`` is never a ``seq``.
"""
from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from courierpy.uidset import UidSet

# System flags as bits, in no particular order; the store maps them to letters,
# the wire to names.
SEEN, ANSWERED, FLAGGED, DELETED, DRAFT = 1, 2, 4, 8, 16
ALL_FLAGS = SEEN | ANSWERED | FLAGGED | DELETED | DRAFT

NO_KEYWORDS: frozenset[bytes] = frozenset()


class Run(tuple[object, ...]):
    """Values written one after another, without blanks or parentheses around
    them: the parts of a multipart, the addresses of a list."""

    __slots__ = ()


class Section:
    """What stands between the brackets of BODY[...].  RFC 9051 6.4.5.

    ``part``: part numbers, () for the whole message.  ``kind``: b"" (all of
    it), b"HEADER", b"HEADER.FIELDS", b"HEADER.FIELDS.NOT", b"TEXT", b"MIME".
    ``fields``: header names in the client's spelling.
    """

    __slots__ = ("fields", "kind", "part")

    def __init__(self, part: tuple[int, ...] = (), kind: bytes = b"",
                 fields: tuple[bytes, ...] = ()) -> None:
        self.part = part
        self.kind = kind
        self.fields = fields

    def __eq__(self, other: object) -> bool:
        return (isinstance(other, Section)
                and (self.part, self.kind, self.fields) == (other.part, other.kind, other.fields))

    def __hash__(self) -> int:
        return hash((self.part, self.kind, self.fields))

    def __repr__(self) -> str:
        return f"Section({self.part!r}, {self.kind!r}, {self.fields!r})"


class Snapshot:
    """What a folder holds at one moment, by UID.  Never changed once made.

    ``uids``: array('I'), ascending.  ``flags``: one byte of flag bits for each
    uid, in the same order.  ``keywords``: uid -> frozenset of keywords, only
    for messages that have some.  ``recent``: UIDs that this scan was the first
    to see.
    """

    __slots__ = ("flags", "keywords", "recent", "uidnext", "uids", "uidvalidity")

    def __init__(self, uidvalidity: int, uidnext: int, uids: array[int], flags: bytes,
                 keywords: Mapping[int, frozenset[bytes]], recent: UidSet) -> None:
        self.uidvalidity = uidvalidity
        self.uidnext = uidnext
        self.uids = uids
        self.flags = flags
        self.keywords = keywords
        self.recent = recent

    def __repr__(self) -> str:
        return (f"Snapshot({self.uidvalidity}, {self.uidnext}, {list(self.uids)!r}, "
                f"{self.flags!r}, {dict(self.keywords)!r}, {self.recent!r})")


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
