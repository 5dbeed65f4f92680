"""Numbers of messages that came while the disk was full: told to our client, and not written yet.

A session gives them in the order in which any other would, from UIDNEXT on, and who has room first
writes what it told.  Where another session gave them otherwise meanwhile, ours cannot go on.
"""
from __future__ import annotations

from bisect import bisect_left

from courierpy.maildir.errors import Renumbered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.maildir.formats.uiddb import UidDb


class Lent:
    """False where there are none."""

    __slots__ = ("_uids",)

    def __init__(self) -> None:
        self._uids: dict[bytes, int] = {}      # by base name, ascending

    def __bool__(self) -> bool:
        return bool(self._uids)

    def lend(self, names: Iterable[bytes], uids: Iterable[int]) -> None:
        """``uids`` ascend, from above those that were lent before."""
        self._uids.update(zip(names, uids, strict=True))

    def end(self) -> None:
        """They are written."""
        self._uids.clear()

    def added(self, found: UidDb) -> UidDb:
        """A uiddb with those that it does not have; itself where there are none, which then are lent no
        more.  Raises Renumbered."""
        for name, uid in self._uids.items():
            row, there = found.find(name), bisect_left(found.uids, uid)
            if found.uids[row] != uid if row >= 0 else uid in found.uids[there:there + 1]:
                raise Renumbered(f"uid {uid}: another number was told than is written now")
        left = {uid: name for name, uid in self._uids.items() if uid >= found.uidnext}
        if not left:
            self.end()
            return found
        return found.extended([*left], [*left.values()])
