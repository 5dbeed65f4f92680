"""The numbers of a folder: its uiddb as it is on disk, and what is known of cur/ by it.

The uiddb is read and written under the lock.  One that is missing or damaged is
restored from whatever still knows the numbers; only when nothing does, everything
is numbered anew.
"""
from __future__ import annotations

import os
import time
from bisect import bisect_left

from courierpy.maildir import contents, directory
from courierpy.maildir.contents import Held
from courierpy.maildir.errors import Denied, QuotaExceeded, StoreError
from courierpy.maildir.expunged import Readers
from courierpy.maildir.files import replace, sync_directory
from courierpy.maildir.formats import dovecot, uiddb
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.index import statuscache
from courierpy.maildir.index.columns import Stamps
from courierpy.maildir.index.statuscache import Status
from courierpy.maildir.keywords import KnownKeywords
from courierpy.maildir.lobby import Lobby
from courierpy.maildir.locks import FolderLock
from courierpy.maildir.watch import Heard
from courierpy.model.flags import SEEN
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from courierpy.maildir.index.statuscache import Counts
    from courierpy.maildir.options import StoreOptions
    from courierpy.maildir.uidvalidity import Uidvalidities


class Numbering:
    """``name`` as IMAP says it, ``path``: its directory.
    ``held``: what is known of cur/ now; it may be ahead of what anybody was told."""

    def __init__(self, name: str, path: str, options: StoreOptions, uidvalidities: Uidvalidities,
                 counts: Counts) -> None:
        self.options = options
        self.uidvalidities = uidvalidities
        self.counts = counts
        self.name = name
        self.path = path
        self.cur = os.path.join(path, "cur")
        self.inside = os.fsencode(self.cur) + b"/"         # what stands before a file name in it
        self.new = os.path.join(path, "new")
        self.index = options.index(path)
        self.held: Held | None = None
        self.departed: dict[int, bytes] = {}    # file names of what went since told()
        self.readers = Readers(path, options.host)
        self._lock = FolderLock(path, options.host, options.locks, self.readers.own)
        self.lobby = Lobby(path, options.host)
        self.keywords = KnownKeywords(options.keywords_of(path), options.keywords)
        self._disk: uiddb.Key | None = None     # the uiddb that ``held`` was made of
        self._file: UidDb | None = None         # as it was read or written, lines of what is gone too
        self._unwritten = False                 # it holds messages that are gone
        self._owed = False                      # and we are the one who removed them
        self._struck = 0.0                      # when it was last written for what went, or tried
        self._told_gone = NO_UIDS               # the client knows so, and it may hold them still
        self._heard = Heard()                   # what happened in cur/ and ``held`` does not say yet

    @property
    def keyword_directory(self) -> str:
        """The path of the directory with the keywords."""
        return self.keywords.files.path

    def locked(self) -> FolderLock:
        return self._lock

    def _stamp(self, sure: bool = True) -> Stamps | None:
        """Identities of the directories and the uiddb; None when one is too young to trust."""
        return statuscache.stamp(self.path, self.options.keyword_directory, sure)

    def _list_cur(self) -> list[bytes]:
        return directory.files(self.cur)

    def _database(self, locked: bool) -> UidDb | None:
        """The numbers as they are on disk; None when the lock is needed to make them."""
        path = os.path.join(self.path, uiddb.NAME)
        before = self.held.database if self.held is not None else self._indexed()
        if before is not None and before.body is None:
            before = None
        if self.held is not None and before is not None and not self._unwritten and self._disk is not None \
                and self._disk == uiddb.stamp(self.path):
            return before
        try:
            found = uiddb.read(path, self._file or before)
        except Denied as why:
            if self.index.recall() is None:
                raise
            log.warn(f"{why}: its content is restored")
            found = UidDb(0, 1, damaged=True)
        if found is not None and not found.damaged and not self._was_cut(found):
            self._disk, self._file = self._trusted(found.key), found
            self._unwritten = False
            return self._without_gone(found)
        if not locked:
            return None
        self._disk, self._unwritten = None, True
        return self._restore(found)

    def _without_gone(self, found: UidDb) -> UidDb:
        """The uiddb as it was read, without the lines of what our client knows as gone: a file of
        that name that came back is another message (RFC 9051 2.3.1.1)."""
        rows = sorted(bisect_left(found.uids, uid) for uid in self._told_gone.within(found.uids))
        if not rows:
            self._told_gone = NO_UIDS          # nobody writes such a line again
            return found
        self._unwritten = True
        return found.without(rows)

    def _strike_out(self, patience: float = 0.0) -> None:
        """Write the uiddb without what our client knows as gone, so that no session gives those UIDs
        to files that come back.  Without the lock after ``patience`` seconds it is left for later."""
        if self.held is None or not self._told_gone:
            return
        self._struck = time.monotonic()
        end = self._struck + patience
        try:
            if self._struck_out() is None:
                return                 # another session did it
            if not (self._lock.take(lambda: time.monotonic() >= end) if patience else self._lock.attempt()):
                return
            try:
                left = self._struck_out()
                if left is not None:
                    self._write(left)
                    if left is not self.held.database:
                        self._disk, self._unwritten = None, bool(self.departed)
            finally:
                self._lock.release()
        except StoreError:
            return                     # the disk takes nothing, or the folder went

    def _struck_out(self) -> UidDb | None:
        """What the uiddb should say; None when it says nothing of what is gone."""
        assert self.held is not None
        if self._disk is not None and self._disk == uiddb.stamp(self.path):
            return self._need_names().database
        found = uiddb.read(os.path.join(self.path, uiddb.NAME), self._file)
        if found is None or found.damaged or found.uidvalidity != self.held.database.uidvalidity:
            return None                # the next look restores it, or sees another folder
        left = self._without_gone(found)
        return left if left is not found else None

    def _indexed(self) -> UidDb | None:
        """The numbers as the index has them, if they are of this very file."""
        columns = self.index.load()
        if columns is None or not columns.database.fill(os.path.join(self.path, uiddb.NAME)):
            return None
        return columns.database

    def _was_cut(self, found: UidDb) -> bool:
        """The file that we know is shorter now, though servers only ever replace it."""
        if self._file is not None and self._file.uidnext != found.uidnext:
            return False               # numbers were given since: it is a new one
        head = self.index.head() if self._disk is None else None
        known = head.stamps.database if head is not None else self._disk
        if known is None or found.key is None or known[0] != found.key[0] or found.key[2] >= known[2]:
            return False
        # or two new files came, and the second has the inode of the one we know
        mine = self.held.database if self.held is not None else None
        return mine is None or mine.body is None or mine.text.startswith(found.text)

    @staticmethod
    def _trusted(key: uiddb.Key | None) -> uiddb.Key | None:
        """A file so young could be replaced by one that looks the same: it has no key."""
        return key if key is not None and directory.settled(key[1], time.time_ns()) else None

    def _restore(self, found: UidDb | None, record: bool = True) -> UidDb:
        """The numbers of a folder that has no good uiddb: what of them is left in it, in our
        log or in Dovecot's files; else all anew, with another UIDVALIDITY.  The keywords come
        first: that there is a uiddb says that all is done.  ``record``: False where nothing can be
        written; a new UIDVALIDITY is then kept in memory, for all that this session does."""
        rows: dict[bytes, int] = {}
        uidvalidity, uidnext = 0, 1
        if found is not None and found.uidvalidity:
            uidvalidity, uidnext = found.uidvalidity, found.uidnext
            rows = dict(zip(found.names(), found.uids, strict=True))
        recalled = self.index.recall(gone=False) or self._remembered()
        if recalled is not None and uidvalidity in (0, recalled[0]):
            uidvalidity, uidnext = recalled[0], max(uidnext, recalled[1])
            used = set(rows.values())
            rows.update((name, uid) for name, uid in recalled[2].items()
                        if name not in rows and uid not in used)
            log.warn(f"{self.path}: {uiddb.NAME} is missing or damaged; {len(rows)} numbers restored")
        elif found is None and os.path.lexists(os.path.join(self.path, dovecot.UIDLIST)):
            there = directory.by_base(self._list_cur())
            taken = dovecot.takeover(self.path, there)
            if taken is not None:
                uidvalidity, uidnext, rows = taken.uidvalidity, taken.uidnext, taken.names
                if record:
                    self.uidvalidities.remember(uidvalidity)
                if self.options.keywords and record:
                    self.keywords.files.replace(taken.keywords, there)
        elif found is not None:
            log.warn(f"{self.path}: {uiddb.NAME} is damaged; {len(rows)} numbers are left")
        head = self.index.head() if not uidvalidity else None
        last = head.uidvalidity if head is not None else 0
        uidvalidity = self.uidvalidities.of(self.path, uidvalidity, last, record)
        unique = {uid: name for name, uid in rows.items() if uid not in self._told_gone}
        return UidDb.of(uidvalidity, uidnext, sorted(unique.items()))

    def _remembered(self) -> tuple[int, int, dict[bytes, int]] | None:
        """As Index.recall, from what we know ourselves."""
        if self.held is None or self.held.database.body is None:
            return None
        database = self.held.database
        return database.uidvalidity, database.uidnext, dict(zip(database.names(), database.uids, strict=True))

    def _write(self, database: UidDb, gone: UidSet = NO_UIDS) -> None:
        """Under the lock.  ``gone``: UIDs that it has no more, beside those that we know as departed."""
        path = os.path.join(self.path, uiddb.NAME)
        if database.body is None:
            database = self._need_names().database
        head, *lines = database.pieces()
        replace(path, head, os.path.join(self.path, "tmp"), self.options.host, "imapuid_0",
                sync=self.options.sync, more=lines)
        if self.options.sync_all:
            sync_directory(self.path)
        self.index.remember(database, {*self.departed, *self._told_gone, *gone})
        self._disk, self._file = self._trusted(uiddb.stamp(self.path)), database
        self._unwritten = self._owed = False
        self._told_gone = NO_UIDS

    def _need_names(self) -> Held:
        """``held`` with the names; so far it may be what the index says."""
        held = self.held
        assert held is not None
        mine = held.database
        if mine.body is not None:
            return held
        path = os.path.join(self.path, uiddb.NAME)
        if mine.fill(path):
            return held
        found = uiddb.read(path)
        # another file since: the names of the messages that it still has, and of those that
        # others took from it
        names: dict[int, bytes] = {}
        recalled = self.index.recall()
        if recalled is not None and recalled[0] == mine.uidvalidity:
            names.update((uid, name) for name, uid in recalled[2].items())
        if found is not None and found.uidvalidity == mine.uidvalidity:
            names.update(zip(found.uids, found.names(), strict=True))
        self._heard.everything |= any(uid not in names for uid in mine.uids)     # cur/ has to be read
        mine.give(names.get(uid, b"?%d" % uid) for uid in mine.uids)
        self._disk = None
        return held

    # -- counts

    def status(self) -> Status:
        """Counts without moving mail from new/ and without numbering it."""
        stamps = self._stamp()
        known = self.counts.find(self.path, stamps)
        if known is not None:
            return known
        found = self._count(stamps)
        # who claims what is recent changes nothing that the stamps show
        if stamps is not None and not self.index.unclaimed() and stamps == self._stamp():
            self.counts.put(self.path, stamps, found)
        return found

    def _count(self, stamps: Stamps | None) -> Status:
        unclaimed = self.index.unclaimed()     # some of them may be gone since
        columns = self.index.load() if unclaimed and stamps is not None else None
        head = columns.head if columns is not None else self.index.head() if stamps is not None else None
        arrived = len(directory.files(self.new))
        if head is not None and stamps is not None and head.stamps.same_but_new(stamps):
            recent = len(unclaimed.within(columns.database.uids)) if columns is not None else 0
            return Status(head.count + arrived, recent + arrived, head.uidnext + arrived, head.uidvalidity,
                          head.unseen + arrived)
        database = self._database(False)
        if database is None:
            # the folder is numbered now, so that what we announce stays true
            try:
                with self._lock:
                    database = self._database(True)
                    assert database is not None
                    if self._unwritten:
                        self._write(database)
            except (Denied, QuotaExceeded) as why:
                log.err(f"{why}: its numbers are kept in memory")
                database = self._restore(uiddb.read(os.path.join(self.path, uiddb.NAME)), record=False)
        held, missing, unknown = contents.look(database, self._list_cur())
        seen = sum(map(SEEN.__and__, held.flags)) + sum(
            1 for file in unknown.values() if b"S" in file.rpartition(b":2,")[2] and b":2," in file)
        there = len(database) - len(missing) + len(unknown)
        recent = len(unclaimed.within(database.uids) - UidSet.of([database.uids[row] for row in missing]))
        return Status(there + arrived, recent + arrived + len(unknown),
                      database.uidnext + len(unknown) + arrived, database.uidvalidity, there + arrived - seen)
