"""Which messages a session is the first to see: \\Recent, RFC 3501 2.3.2.

What is numbered and was shown to nobody yet stands in the index, for the next session that opens
the mailbox to change it; who only looks (EXAMINE) leaves it there.
"""
from __future__ import annotations

from courierpy.maildir.formats.uiddb import MAX_UID
from courierpy.model.uidset import NO_UIDS, UidSet

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.index.columns import Index


class Recent:
    """Of one open mailbox.  ``fresh``: numbered by us, and in no snapshot yet."""

    __slots__ = ("_index", "_shown", "fresh")

    def __init__(self, index: Index) -> None:
        self.fresh = NO_UIDS
        self._index = index
        self._shown = NO_UIDS          # to our client, and left so for the next session

    def claim(self, locked: bool, readonly: bool) -> UidSet | None:
        """UIDs that our client is the first to see, some of which may be gone; None when the lock is
        needed to say so."""
        fresh, unclaimed = self.fresh, self._index.unclaimed()
        if readonly:
            if fresh:
                self._index.set_unclaimed(unclaimed | fresh)
            shown = unclaimed | fresh
            recent, self._shown = shown - self._shown, shown | self._shown
        else:
            if unclaimed and not locked:
                return None
            if unclaimed:
                self._index.set_unclaimed(NO_UIDS)
            recent = unclaimed | fresh
        self.fresh = NO_UIDS
        return recent

    def numbered(self, uids: Sequence[int]) -> None:
        """Messages got these UIDs, and are recent."""
        self.fresh |= UidSet.of(uids)

    def leave(self) -> None:
        """Nobody of this session will see them: they are the next one's."""
        if self.fresh:
            self._index.set_unclaimed(self.fresh, more=True)
            self.fresh = NO_UIDS

    def not_told(self, recent: UidSet, readonly: bool) -> None:
        """What claim() gave was told to nobody: the next one gives it again."""
        if readonly:
            self._shown -= recent
        else:
            self.fresh |= recent

    def take_back(self, first: int) -> None:
        """Messages with numbers from this one on did not come."""
        self.fresh -= UidSet([(first, MAX_UID)])
