"""The directory of an open mailbox: its paths, its lock, who else works there, what is derived of it."""
from __future__ import annotations

import os
import time

from courierpy.maildir import directory
from courierpy.maildir.expunged import Readers
from courierpy.maildir.files import listed, remove, remove_tree, sync_directory
from courierpy.maildir.formats import uiddb
from courierpy.maildir.index import statuscache
from courierpy.maildir.lobby import Lobby
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.names import base
from courierpy.model.numbers import decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

    from courierpy.maildir.formats.uiddb import UidDb
    from courierpy.maildir.graveyard import Graveyard
    from courierpy.maildir.index.columns import Stamps
    from courierpy.maildir.mirror import Mirror
    from courierpy.maildir.options import StoreOptions
    from courierpy.maildir.quota import Quota

TMP_AGE = 36 * 3600                # seconds after which files in tmp/ are garbage
STILL = "courierpy.still"          # in tmp/: who has the lock copies what is there (moment.py)


class MailboxDirectory:
    """Where an open mailbox is on disk, and who else has it open.

    ``path``: of the directory; ``cur``, ``new``, ``tmp``: in it.  ``inside``: what stands before a file's
    name in cur/.  ``uiddb``: the path of the numbers.  ``cleaned``: when tmp/ was, on the monotonic clock,
    0.0 where that is not known.  ``mirror``: what the messages are links to, None where they are none."""

    __slots__ = ("_where", "cleaned", "cur", "index", "inside", "lock", "mirror", "new", "options",
                 "path", "readers", "tmp", "uiddb")

    def __init__(self, path: str, options: StoreOptions) -> None:
        self.path = path
        self.options = options
        self.cur = f"{path}/cur"       # os.path.join() costs as much as a look at the file
        self.new = f"{path}/new"
        self.tmp = f"{path}/tmp"
        self.inside = os.fsencode(self.cur) + b"/"
        self.uiddb = f"{path}/{uiddb.NAME}"
        self.index = options.index(path)
        self.readers = Readers(path, options.host)
        self.lock = FolderLock(path, options.host, options.locks, self._own_file)
        self.cleaned = 0.0
        self.mirror: Mirror | None = None
        self._where: str | None = None

    @property
    def lobby(self) -> Lobby:
        """Where messages wait that come while others have the lock."""
        return Lobby(self.path, self.options.host)

    @property
    def where(self) -> str:
        """The working directory in which it was opened, as it was called when that was asked first; "" where
        it had no name."""
        if self._where is None:
            try:
                self._where = os.getcwd()
            except OSError:
                self._where = ""
        return self._where

    def _own_file(self) -> str:
        """The path of a file of ours in tmp/ that a lock can be a link to; "" without one."""
        kept = self.options.kept_file
        return self.readers.own() or (kept.at(self.tmp) if kept is not None else "")

    @property
    def quota(self) -> Quota | None:
        """What counts the messages that are here; None where nothing does."""
        if self.mirror is not None:
            return self.mirror.quota
        return self.quota_by_flags

    @property
    def quota_by_flags(self) -> Quota | None:
        """The same where flags change what is counted: not those that only one user sees."""
        found = self.options.quota if self.mirror is None else None
        return found if found is not None and found.counts(self.path) else None

    def make_room(self) -> bool:
        """The disk is full: what is kept for who reads it still, and what saves only work, goes.  True if
        there was anything."""
        found = self.readers.give_up() | self.index.give_up()
        return self.graveyard().give_up() | found if self.options.keeps_expunged else found

    @property
    def still(self) -> str:
        """The path of the mark of who copies the mailbox."""
        return f"{self.tmp}/{STILL}"

    def is_still(self) -> bool:
        """Does somebody copy it now?  The mark of one who was killed counts no more than his lock."""
        return os.access(self.still, os.F_OK) and self.lock.is_held()

    def wait_while_still(self) -> None:
        """Called before what changes messages without the lock: not while somebody copies them.  Raises Busy,
        or another store error."""
        if os.access(self.still, os.F_OK):
            with self.lock:
                if self.lock.enabled:
                    remove(self.still)     # of a process that is no more: it had the lock

    def graveyard(self) -> Graveyard:
        """Where messages are kept that were expunged."""
        from courierpy.maildir.graveyard import Graveyard  # few ask
        return Graveyard(os.path.join(self.path, self.options.graveyard_name))

    def stamps(self, sure: bool = True) -> Stamps | None:
        """Identities of the directories and the uiddb; None when one is too young to trust, if that is to
        be ``sure``.  Raises a store error."""
        return statuscache.stamp(self.path, self.options.keyword_directory, sure)

    def files(self) -> list[bytes]:
        """Names of the messages' files in cur/.  Raises a store error."""
        return directory.files(self.cur) if self.mirror is None else self.mirror.names()

    def strangers(self, known: Collection[bytes]) -> dict[bytes, bytes]:
        """base name -> file name of the messages in cur/ whose base names are not ``known``.  Raises a store
        error."""
        names = directory.entries(self.cur) if self.mirror is None else self.mirror.names()
        strange = [name for name in names if (name.rpartition(b":")[0] or name) not in known]
        if self.mirror is None:
            strange = [name for name in strange if directory.is_message(self.inside + name)]
        return directory.by_base(strange)

    def bases(self) -> set[bytes]:
        """Names of the messages in cur/ and new/, without flags.  Raises a store error."""
        return set(map(base, [*self.files(), *directory.files(self.new)]))

    def numbers(self, before: UidDb | None = None) -> UidDb | None:
        """The uiddb as it is on disk; None without one.  ``before``: what it held earlier.  Raises a store
        error."""
        kept = self.options.kept_numbers
        return uiddb.read(self.uiddb, before) if kept is None else kept.read(self.uiddb, before)

    def kept_numbers(self) -> UidDb | None:
        """The uiddb, where it is as a session that brings messages knows it; else None."""
        kept = self.options.kept_numbers
        return kept.find(self.uiddb) if kept is not None else None

    @property
    def numbers_are_ours(self) -> bool:
        """Is the uiddb, as kept_numbers() gives it, what this session has written?"""
        kept = self.options.kept_numbers
        return kept is not None and kept.written

    def sync_numbers(self) -> None:
        """The name of the uiddb is on disk.  Raises a store error."""
        kept = self.options.kept_numbers
        if kept is None or not kept.is_named(self.uiddb):
            sync_directory(self.path)
            if kept is not None:
                kept.named(self.uiddb)

    def clean_tmp(self) -> None:
        """Garbage that crashed programs left in tmp/ goes, when it is older than 36 hours."""
        self.cleaned = time.monotonic()
        now = time.time()
        limit = now - TMP_AGE
        for entry in listed(self.tmp):
            # most names begin with the time at which their file was made, or will be at the earliest
            if limit <= (decimal(entry.name.partition(".")[0]) or 0) <= now:
                continue
            try:
                if entry.stat(follow_symlinks=False).st_ctime >= limit:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                else:
                    os.unlink(entry.path)
            except OSError:
                continue               # somebody else cleans, or it cannot be removed


def wait_while_still(inbox: str, options: StoreOptions) -> None:
    """Before mailboxes come or go: not while somebody copies all of them, who holds INBOX too.  Raises Busy,
    or another store error."""
    MailboxDirectory(inbox, options).wait_while_still()
