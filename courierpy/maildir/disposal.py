"""What becomes of the file of a message that is expunged: it goes for good, or to the trash, and the log
hears of it.  IMAP_MOVE_EXPUNGE_TO_TRASH and IMAP_LOG_DELETIONS, as Courier has them.
"""
from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from courierpy.model.uidset import UidSet

    Tell = Callable[[bytes, bytes], None]

    class Place(Protocol):
        """Where files are kept."""

        def take(self, path: bytes) -> bytes:
            """Moves the file there; gives its new path.  Raises as Disposal.take()."""

        def settle(self) -> None:
            """As of Disposal."""


class Disposal:
    """Of messages of one mailbox, in one command.  ``trash``: the place for them, None: they go for good, and
    so do those of the UIDs ``spared``.  ``tell``: function (path, new path or b"") that is called of each."""

    __slots__ = ("_spared", "_tell", "_trash")

    def __init__(self, trash: Place | None, spared: UidSet, tell: Tell | None) -> None:
        self._trash = trash
        self._spared = spared
        self._tell = tell

    def take(self, path: bytes, uid: int, unlink: Callable[[bytes], None] = os.unlink) -> None:
        """``unlink``: what is done to a file that goes for good.  Raises FileNotFoundError where there is no
        such file, OSError, or a store error."""
        if self._trash is None or uid in self._spared:
            unlink(path)
        else:
            there = self._trash.take(path)
            if self._tell is not None:
                self._tell(path, there)
        if self._tell is not None:
            self._tell(path, b"")

    def settle(self) -> None:
        """All that is to go is gone: now it is on disk and counted.  Raises a store error."""
        if self._trash is not None:
            self._trash.settle()
