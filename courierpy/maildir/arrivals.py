"""Mail that others delivered: it comes from new/ to cur/, where it is numbered."""
from __future__ import annotations

import os

from courierpy.maildir import directory
from courierpy.maildir.errors import Denied, QuotaExceeded, trouble
from courierpy.maildir.names import base
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.mailboxdirectory import MailboxDirectory


class Arrivals:
    """Of one mailbox, for as long as it is open."""

    __slots__ = ("_changes", "_place", "_stuck")

    def __init__(self, place: MailboxDirectory, changes: Changes) -> None:
        self._place = place
        self._changes = changes
        self._stuck: frozenset[bytes] = frozenset()        # in new/, and cannot be moved

    def waiting(self) -> list[bytes]:
        """Names of files in new/ that can be moved, as far as is known.  Raises a store error."""
        return [name for name in directory.files(self._place.new) if name not in self._stuck]

    def take(self, arrived: Sequence[bytes]) -> dict[bytes, bytes]:
        """Move these from new/ to cur/: base name -> file name of what came.  Under the lock.  Raises a
        store error; what alone cannot be moved stays, and the log says why."""
        moved = {}
        new, cur = os.fsencode(self._place.new), self._place.inside
        for entry in arrived:
            path = os.path.join(new, entry)
            try:
                target = directory.bring_in(path, cur, self._place.options.host)
            except FileNotFoundError:
                continue             # another session was first
            except OSError as error:
                why = trouble(path, error)
                if isinstance(why, QuotaExceeded):
                    continue           # the directory cannot grow: later
                if not isinstance(why, Denied):
                    raise why from None
                log.err(f"{why}: it stays in new/ and is not shown")
                self._stuck |= {entry}
                continue
            if not target:
                continue
            self._changes.did(target, True)
            if directory.is_message(cur + target):         # a link may lead elsewhere from here
                moved[base(target)] = target
        return moved
