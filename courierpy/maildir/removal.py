"""Messages go: EXPUNGE, and what a MOVE leaves behind."""
from __future__ import annotations

import os

from courierpy.maildir.errors import MessageDenied, StoreError, Vanished, unchangeable
from courierpy.maildir.files import exists
from courierpy.maildir.messagefile import TRIES
from courierpy.model.flags import DELETED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents
    from courierpy.maildir.finder import Finder
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.numbers import Numbers


class Removal:
    """Of messages of one open mailbox."""

    __slots__ = ("_changes", "_contents", "_finder", "_numbers", "_place")

    def __init__(self, place: MailboxDirectory, contents: Contents, numbers: Numbers, finder: Finder,
                 changes: Changes) -> None:
        self._place = place
        self._contents = contents
        self._numbers = numbers
        self._finder = finder
        self._changes = changes

    def expunge(self, uids: Iterable[int], refused: list[StoreError] | None,
                only_deleted: bool = True) -> list[int]:
        """Remove messages that are \\Deleted still, or whatever flags they have; gives the UIDs that went.
        ``refused``: as for FlagWriter.store()."""
        gone: list[int] = []
        keep = self._place.readers.keeps()
        try:
            for uid in uids:
                try:
                    if self._expunge_one(uid, keep, only_deleted):
                        gone.append(uid)
                except MessageDenied as why:
                    if refused is None:
                        raise
                    refused.append(why)
        finally:
            self.went(gone)
        return gone

    def went(self, uids: Sequence[int]) -> None:
        """We removed these messages, or moved them away."""
        rows = sorted(row for row in map(self._contents.held.row, uids) if row >= 0)
        if rows:
            self._contents.drop(rows)
            self._numbers.unwritten = self._numbers.owed = True

    def _expunge_one(self, uid: int, keep: bool, only_deleted: bool) -> bool:
        """False for a message that is gone, or \\Deleted no more.  ``keep``: somebody may know it still."""
        try:
            row = self._finder.row(uid)
        except Vanished:
            return False
        held = self._contents.held
        for _ in range(TRIES):
            file = held.file(row)
            path = self._place.inside + file
            if not only_deleted or held.flags[row] & DELETED:      # it is while a file of this name is there
                if keep:
                    self._place.readers.bury(path, held.database.name(row))
                try:
                    os.unlink(path)
                except FileNotFoundError:
                    pass
                except OSError as error:
                    raise unchangeable(path, error) from None
                else:
                    self._changes.did(file, False)
                    return True
            elif exists(path):
                return False
            if not self._finder.find_again(row):
                return False
        return False
