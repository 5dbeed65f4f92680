"""Maildirs of others, whose mailboxes are named beside the user's own.

``#shared.`` has those of accounts, by the index of the host (sharedindex.py); ``shared.`` what is shared by
the rights of files, by the lists of linked.py.
"""
from __future__ import annotations

import os

from courierpy.maildir import linked
from courierpy.maildir.access import LEVELS
from courierpy.maildir.errors import StoreError
from courierpy.maildir.files import listed
from courierpy.maildir.names import is_folder_entry
from courierpy.model.namespaces import SHARED, SHARED_PREFIXES, Namespace
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from courierpy.maildir.sharedindex import SharedIndex
    from courierpy.maildir.store import Store

    Make = Callable[[str, Namespace], Store]

KNOWN = 1000                       # that are open
VIRTUAL, LINKED = SHARED_PREFIXES


class Neighbours:
    """The Maildirs that others share with one user.

    ``own``: the user's Maildir.  ``index``: of the accounts, None without one.  ``account``: function
    (path of a Maildir, its namespace) that opens one; ``sharable``: function (directory of the copies, path
    of the Maildir, its namespace)."""

    __slots__ = ("_account", "_index", "_known", "_own", "_sharable")

    def __init__(self, own: Store, index: SharedIndex | None, account: Make,
                 sharable: Callable[..., Store]) -> None:
        self._own = own
        self._index = index
        self._account = account
        self._sharable = sharable
        self._known: dict[str, Store] = {}      # by the prefix of the names

    def find(self, name: str) -> Store | None:
        """The Maildir that has the mailbox of that name, which begins as those of others do; None where there
        is none."""
        if name.startswith(LINKED):
            level = name[len(LINKED):].partition(".")[0]
            path = linked.sharables(self._own.root).get(level, "") if level else ""
            there = path or linked.has_copies(self._own.root, level)
            return self._open_linked(level, path) if there else None
        found = self._index.find(name[len(VIRTUAL):]) if self._index is not None else None
        return self._open_account(*found) if found else None

    def _open_account(self, levels: str, root: str) -> Store | None:
        """The Maildir of an account, None for one that cannot be looked at, and for the own."""
        prefix = f"{VIRTUAL}{levels}."
        known = self._known.get(prefix)
        if known is not None and known.root == root:
            return known
        try:
            if not os.access(os.path.join(root, "cur"), os.X_OK) or os.path.samefile(root, self._own.root):
                return None
            found = self._account(root, Namespace(SHARED, prefix, ".", root, inbox=prefix[:-1]))
        except OSError:
            return None
        return self._knows(prefix, found)

    def _open_linked(self, level: str, path: str) -> Store:
        prefix = f"{LINKED}{level}."
        known = self._known.get(prefix)
        if isinstance(known, linked.Linked) and known.sharable == path:
            return known
        root = linked.copies(self._own.root, level)
        return self._knows(prefix, self._sharable(root, path, namespace=Namespace(SHARED, prefix, ".", root)))

    def _knows(self, prefix: str, found: Store) -> Store:
        if len(self._known) >= KNOWN:
            self._known.clear()
        self._known[prefix] = found
        return found

    def names(self, virtual: bool) -> list[str]:
        """The mailboxes that the user may see: those of accounts, or those that are shared by the rights of
        files."""
        if not virtual:
            return self._names(self._open_linked(*one) for one in linked.sharables(self._own.root).items())
        return self._names(self._open_account(*one) for one in self._index.accounts()) \
            if self._index is not None else []

    def around(self, virtual: bool, wanted: Callable[[str], bool]) -> list[str]:
        """The directories in which mailboxes come and go, and what says who may see them, of all whose names
        begin with a prefix that is ``wanted``: of what the user may not see, too."""
        pairs = linked.sharables(self._own.root).items() if not virtual \
            else self._index.accounts() if self._index is not None else ()
        prefix = VIRTUAL if virtual else LINKED
        found: list[str] = []
        for level, root in pairs:
            if wanted(f"{prefix}{level}.") and (not virtual or self._open_account(level, root) is not None):
                found += [root, *(entry.path for entry in listed(root)
                                  if is_folder_entry(os.fsencode(entry.name)) or entry.name == LEVELS)]
        return found

    @staticmethod
    def _names(stores: Iterator[Store | None]) -> list[str]:
        found: dict[str, None] = {}
        for store in stores:
            try:
                if store is not None:
                    found.update(dict.fromkeys(
                        store.namespaces.name(path) for path in store.layout.mailboxes()
                        if "l" in store.rights_at(path)))
            except StoreError as why:
                log.err(str(why))      # the others are told
        return list(found)

    def subscriptions(self) -> list[str]:
        """Of what is shared by the rights of files: whoever has a copy is subscribed."""
        return [f"{LINKED}{level}.{path}" for level in linked.levels(self._own.root)
                for path in linked.copied(self._own.root, level)]
