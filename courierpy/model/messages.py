"""The messages of a mailbox at one moment, as columns."""
from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from collections.abc import Mapping

    from courierpy.model.uidset import UidSet


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
