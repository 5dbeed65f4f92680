"""Lists of rights change.  RFC 4314, in Courier's files.

A change of one list leaves all other mailboxes as they were (RFC 4314 3.1): those that had it from this one
get one of their own first.  What is written is under the lock of INBOX, as Courier does.
"""
from __future__ import annotations

import os
from bisect import bisect_left

from courierpy.maildir import names
from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import is_directory, listed, open_as, remove, replace
from courierpy.maildir.formats.acl import DEFAULT, AccessList
from courierpy.maildir.locks import FolderLock
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from courierpy.maildir.access import Access
    from courierpy.maildir.layout import Layout
    from courierpy.maildir.options import StoreOptions

    Edit = Callable[[AccessList], AccessList]


class Lists:
    """Those of one Maildir, whose INBOX is whole: its lock is taken.

    ``change``, as often as it is called, goes by the mailboxes that there were at the first: one that is made
    between has its rights as if it was made after the last."""

    __slots__ = ("_access", "_layout", "_lock", "_options", "_paths")

    def __init__(self, access: Access, layout: Layout, options: StoreOptions) -> None:
        self._access = access
        self._layout = layout
        self._options = options
        self._paths: list[str] | None = None   # of all mailboxes, in order, once they were asked for
        self._lock = FolderLock(layout.inbox, options.host, options.locks)

    def of(self, path: str) -> AccessList:
        """The list that governs the mailbox at ``path``.  Raises a store error."""
        found = self._access.nearest(path)
        return DEFAULT if found is None else self._access.read(found[0])

    def change(self, path: str, edit: Edit) -> AccessList:
        """Gives a mailbox the list that ``edit`` makes of what it has.  Raises LockedOut, and then nothing is
        changed, or a store error."""
        with self._lock:
            before = self.of(path)
            after = edit(before)
            after.check(self._access.own_names())
            if after != before:
                self._keep(self._below(path))
                self._write(path, after)
        return after

    def comes(self, path: str, found: AccessList) -> None:
        """A mailbox is about to be made with this list: those below it keep their rights.  Raises LockedOut
        for a list that nobody may have, or a store error."""
        with self._lock:
            found.check(self._access.own_names())
            self._keep(self._below(path))

    def keep(self, paths: Iterable[str]) -> None:
        """These mailboxes have lists of their own from now on, which say what is so already."""
        with self._lock:
            self._keep(paths)

    def goes(self, path: str) -> None:
        """A mailbox is about to be deleted, and its list with it: those below keep their rights."""
        with self._lock:
            self._keep(self._below(path))
            level = self._access.level_file(path)
            if level:
                remove(level)

    def moved(self, here: str, there: str) -> None:
        """What was at ``here`` and below is at ``there`` now: the lists of levels that are no mailboxes move
        along."""
        with self._lock:
            for level in self.levels():
                if level == here or level.startswith(here + self._layout.separator):
                    old, new = map(self._access.level_file, (level, there + level[len(here):]))
                    try:
                        os.rename(old, new)
                    except OSError as error:
                        log.err(f"{old}: {error.strerror}")    # new mailboxes there have it from above
        self.tidy()

    def levels(self) -> list[str]:
        """The levels that are no mailboxes and have a list."""
        where = self._access.levels
        return sorted(names.shown(os.fsencode(entry.name)) for entry in listed(where)) if where else []

    def tidy(self) -> None:
        """The lists of levels go below which there are no mailboxes any more: who makes one there again gives
        nobody the rights of one that was."""
        levels = self.levels()
        needed: set[str] = set()
        for path in self._layout.mailboxes() if levels else ():
            while path and path not in needed:
                needed.add(path)
                path = self._access.above(path)
        for level in levels:
            if level not in needed:
                remove(self._access.level_file(level))

    def _keep(self, paths: Iterable[str]) -> None:
        for path in paths:
            if not os.path.lexists(self._access.file(path)):
                self._write(path, self.of(path))

    def _below(self, path: str) -> list[str]:
        if self._paths is None:
            self._paths = sorted(filter(None, self._layout.mailboxes()))
        if not path:
            return self._paths
        below = path + self._layout.separator
        found = []
        for at in range(bisect_left(self._paths, below), len(self._paths)):
            if not self._paths[at].startswith(below):
                break
            found.append(self._paths[at])
        return found

    def _write(self, path: str, found: AccessList) -> None:
        access, options = self._access, self._options
        file, level = access.file(path), access.level_file(path)
        if not is_directory(os.path.dirname(file)):
            if not level:
                raise StoreError(f"no place for the list of {path!r}, which is no mailbox")
            file, level = level, ""
            try:
                os.makedirs(access.levels, open_as(self._layout.root), exist_ok=True)
            except OSError as error:
                log.err(f"{access.levels}: {error.strerror}")
        replace(file, found.spelled(), self._layout.scratch, options.host, "acl", sync=options.sync)
        access.forget()
        if level:
            remove(level)
