"""Messages come to the trash instead of going for good: IMAP_MOVE_EXPUNGE_TO_TRASH.

There a message keeps its name but for the letters of \\Deleted and \\Draft, and has no keywords, as by
Courier.  By a rename, so that it is never in both mailboxes, and never in none; it gets its number when
somebody looks there.  Where there is no trash it is made.  Where that fails the message stays where it was;
Courier lets it go.
"""
from __future__ import annotations

import errno
import os

from courierpy.maildir.bring import rename_or_copy
from courierpy.maildir.directory import by_base, files
from courierpy.maildir.errors import DiskTrouble, FolderExists, FolderMissing
from courierpy.maildir.files import Directory, exists
from courierpy.maildir.names import SUFFIXES, base, tmp_name, unique_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.formats.maildirsize import Amount
    from courierpy.maildir.quota import Quota
    from courierpy.maildir.store import Store

FEW = 100                          # messages of which each is looked for in the trash


class Trash:
    """The trash of ``store``, for about so many messages."""

    __slots__ = ("_came", "_cur", "_known", "_path", "_quota", "_store")

    def __init__(self, store: Store, many: int) -> None:
        self._store = store
        self._path = store.path_of(store.trash_mailbox)
        self._cur = os.path.join(os.fsencode(self._path), b"cur", b"")
        self._known: set[bytes] | None = None if many <= FEW else set()
        self._quota: Quota | None = None               # where what is in the trash counts
        self._came: list[Amount] | None = None         # None: nothing was brought yet

    @classmethod
    def beside(cls, store: Store, path: str, many: int) -> Trash | None:
        """None where the mailbox at ``path`` is the trash itself."""
        trash = store.path_of(store.trash_mailbox)
        try:
            same = os.path.samefile(trash, path)
        except OSError:
            same = False               # one of them is not there
        return None if same else cls(store, many)

    def take(self, path: bytes) -> bytes:
        """Brings the file there; gives its path.  Raises as Disposal.take()."""
        if self._came is None:
            self._make()
            self._came = []
        there = self._cur + self._named(path)
        try:
            rename_or_copy(path, there)
        except FileNotFoundError:
            if not exists(path):
                raise
            self._make()               # somebody removed it meanwhile
            rename_or_copy(path, there)
        if self._known is not None:
            self._known.add(base(os.path.basename(there)))
        if self._quota is not None:
            self._came.append(self._quota.amount_at(there))
        return there

    def _make(self) -> None:
        """Make the trash, or what is missing of it."""
        name = self._store.trash_mailbox
        try:
            self._store.places.repair(self._path)
        except FolderMissing:
            try:
                self._store.create(name)
            except FolderExists:
                pass                   # another session was first
            except DiskTrouble:
                if not exists(self._path):
                    raise
                why = OSError(errno.ENOTDIR, "no mailbox, and where the trash would be")
                raise DiskTrouble(self._path, why) from None
        quota = self._store.quota()
        self._quota = quota if quota is not None and quota.counts(self._path) else None
        if self._known is not None:
            self._known = set(by_base(files(os.fsdecode(self._cur))))

    def _named(self, path: bytes) -> bytes:
        """What it is called there."""
        file = os.path.basename(path)
        name, mark, letters = file.partition(b":2,")
        if self._there(name):          # from another mailbox, or it was here before
            found = os.stat(path, follow_symlinks=False)
            size = name.partition(b",S=")[2]
            name = os.fsencode(unique_name(tmp_name(self._store.options.host), found.st_dev, found.st_ino))
            name += b",S=" + size if size else b""
        return name + mark + letters.translate(None, b"DT")

    def _there(self, name: bytes) -> bool:
        if self._known is not None:
            return name in self._known
        return any(exists(self._cur + name + suffix) for suffix in (b"", *SUFFIXES))

    def settle(self) -> None:
        """What came is on disk, and counted.  Raises a store error."""
        came, self._came = self._came, None
        if came is None:
            return
        if came and self._quota is not None:
            self._quota.changed(*came, together=True)
        with Directory(os.fsdecode(self._cur), self._store.options.sync) as entries:
            entries.sync()

