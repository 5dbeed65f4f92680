"""The numbers of a mailbox: its uiddb as it is on disk, and how it is brought up to date.

The uiddb is read and written under the lock.  One that is missing or damaged is
restored from whatever still knows the numbers; only when nothing does, everything
is numbered anew.
"""
from __future__ import annotations

import os
import time
from bisect import bisect_left

from courierpy.maildir import directory
from courierpy.maildir.errors import Denied, StoreError
from courierpy.maildir.files import replace, sync_directory
from courierpy.maildir.formats import uiddb
from courierpy.maildir.formats.uiddb import UidDb
from courierpy.maildir.lent import Lent
from courierpy.model import measures
from courierpy.model.uidset import NO_UIDS, UidSet
from courierpy.system import log, metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from courierpy.maildir.changes import Changes
    from courierpy.maildir.contents import Contents, Held
    from courierpy.maildir.formats.keywordlist import Keywords
    from courierpy.maildir.mailboxdirectory import MailboxDirectory
    from courierpy.maildir.uidvalidity import Uidvalidities

SELDOM = 0.5                       # seconds: not more often is the uiddb written only for what went


def _trusted(key: uiddb.Key | None) -> uiddb.Key | None:
    """A file so young could be replaced by one that looks the same: it has no key."""
    return key if key is not None and directory.settled(key[1], time.time_ns()) else None


class Numbers:
    """Of an open mailbox.  ``key``: the uiddb that the contents were made of; None where they say
    something else, or where that is not sure.  ``unwritten``: it has lines of messages that are gone;
    ``owed``: and we are the one who removed them.  ``told_gone``: UIDs that our client knows as gone, and
    that it may have still.  ``struck``: when it was last written for what went, or that was tried.
    ``lent``: numbers that a full disk had no room for."""

    __slots__ = ("_changes", "_contents", "_file", "_keywords", "_place", "_uidvalidities", "key", "lent",
                 "owed", "struck", "told_gone", "unwritten")

    def __init__(self, place: MailboxDirectory, contents: Contents, changes: Changes, keywords: Keywords,
                 uidvalidities: Uidvalidities) -> None:
        self.key: uiddb.Key | None = None
        self.unwritten = False
        self.owed = False
        self.struck = 0.0
        self.told_gone = NO_UIDS
        self.lent = Lent()
        self._file: UidDb | None = None         # as it was read or written, lines of what is gone too
        self._place = place
        self._contents = contents
        self._changes = changes
        self._keywords = keywords
        self._uidvalidities = uidvalidities

    def forget(self) -> None:
        """Nothing is known any more of what is on disk."""
        self.key = self._file = None

    def is_current(self) -> bool:
        """Is the file still the one that the contents were made of?  Raises a store error."""
        return self.key is not None and self.key == uiddb.asked(self._place.path)

    def is_due(self) -> bool:
        """Has the uiddb not been written for what went for long enough to do it now?  Where there are many
        sessions, by any of them: who writes it for what came leaves out what went, too."""
        if time.monotonic() - self.struck < SELDOM:
            return False
        if not self._place.readers.were_many:
            return True
        try:
            return not 0 <= time.time() - os.stat(self._place.uiddb).st_mtime < SELDOM
        except OSError:
            return True                # who writes it says why

    def on_disk(self, mine: UidDb | None = None) -> UidDb | None:
        """The uiddb as it is, lines of what is gone too; None without one.  ``mine``: what it held earlier,
        where it was not read yet.  Raises a store error."""
        return self._place.numbers(self._file or mine)

    def learned(self, found: UidDb, whole: bool) -> None:
        """The contents say what this file says; ``whole``: all of it."""
        self.key, self._file = _trusted(found.key) if whole else None, found

    def read(self, locked: bool) -> UidDb | None:
        """The numbers as they are on disk; None when the lock is needed to make them.  Raises a store
        error."""
        if locked:
            return self.read_locked()
        database = self._read()[0]
        return None if self.lent else database         # perhaps they can be written now

    def read_locked(self) -> UidDb:
        """Under the lock: the numbers as they are on disk, or restored.  Raises a store error."""
        database, found = self._read()
        if database is not None:
            return database
        self.key, self.unwritten = None, True
        return self.restore(found)

    def _read(self) -> tuple[UidDb | None, UidDb | None]:
        """The numbers, or None; and the uiddb that is missing or damaged then."""
        known = self._contents.known
        kept = None if known else self._place.kept_numbers()
        before = self._contents.held.database if known else kept or self._indexed()
        if before is not None and before.body is None:
            before = None
        if known and before is not None and not self.unwritten and self.is_current():
            self.lent.end()
            return before, None
        try:
            found = kept or self.on_disk(before)
        except Denied as why:
            if self._place.index.recall() is None:
                raise
            log.warn(f"{why}: its content is restored")
            found = UidDb(0, 1, damaged=True)
        ours = kept is not None and self._place.numbers_are_ours
        if found is None or found.damaged or not ours and self.was_cut(found):
            return None, found
        self.learned(found, whole=True)
        self.unwritten = False
        return self.known(found), found

    def known(self, found: UidDb) -> UidDb:
        """The uiddb as it was read, by what our client was told.  Raises Renumbered."""
        mine = self.lent.added(self.without_gone(found))
        self.unwritten |= bool(self.lent)
        return mine

    def without_gone(self, found: UidDb) -> UidDb:
        """The uiddb as it was read, without the lines of what our client knows as gone: a file of
        that name that came back is another message (RFC 9051 2.3.1.1)."""
        rows = sorted(bisect_left(found.uids, uid) for uid in self.told_gone.within(found.uids))
        if not rows:
            self.told_gone = NO_UIDS          # nobody writes such a line again
            return found
        self.unwritten = True
        return found.without(rows)

    def strike_out(self, patience: float = 0.0) -> None:
        """Write the uiddb without what our client knows as gone, so that no session gives those UIDs
        to files that come back.  Without the lock after ``patience`` seconds it is left for later."""
        if not self.told_gone:
            return
        self.struck = time.monotonic()
        end = self.struck + patience
        try:
            if self._struck_out() is None:
                return                 # another session did it
            lock = self._place.lock
            if not (lock.take(lambda: time.monotonic() >= end) if patience else lock.attempt()):
                return
            try:
                left = self._struck_out()
                if left is not None:
                    self.write(left)
                    if left is not self._contents.held.database:
                        self.key, self.unwritten = None, bool(self._contents.departed)
            finally:
                lock.release()
        except StoreError:
            return                     # the disk takes nothing, or the folder went

    def _struck_out(self) -> UidDb | None:
        """What the uiddb should say; None when it says nothing of what is gone."""
        if self.is_current():
            return self.named().database
        found = self.on_disk()
        if found is None or found.damaged or found.uidvalidity != self._contents.held.database.uidvalidity:
            return None                # the next look restores it, or sees another folder
        left = self.without_gone(found)
        return left if left is not found else None

    def _indexed(self) -> UidDb | None:
        """The numbers as the index has them, if they are of this very file."""
        columns = self._place.index.load()
        if columns is None or not columns.database.fill(self._place.uiddb):
            return None
        return columns.database

    def was_cut(self, found: UidDb) -> bool:
        """The file that we know is shorter now, though servers only replace it or add to it, and there are
        messages whose lines are gone.  Raises a store error."""
        if self._file is not None and self._file.uidnext != found.uidnext:
            return False               # numbers were given since: it is a new one
        head = self._place.index.head() if self.key is None else None
        known = head.stamps.database if head is not None else self.key
        if known is None or found.key is None or known[0] != found.key[0] or found.key[2] >= known[2]:
            return False
        # or two new files came, and the second has the inode of the one we know: then lines went of messages
        # that went
        rows: dict[bytes, int] = {}
        for numbered in (self._place.index.recall(gone=False), self._remembered()):
            if numbered is not None and numbered[0] == found.uidvalidity:
                rows = numbered[2]
                break
        uids = set(found.uids)
        lost = {name for name, uid in rows.items() if uid not in uids}
        if rows and not lost:
            return False
        there = self._place.bases()
        lost = lost & there if rows else there
        return len(found.rows_of(lost)) < len(lost)

    def restore(self, found: UidDb | None, record: bool = True) -> UidDb:
        """The numbers of a folder that has no good uiddb: what of them is left in it, in our
        log or in Dovecot's files; else all anew, with another UIDVALIDITY.  The keywords come
        first: that there is a uiddb says that all is done.  ``record``: False where nothing can be
        written; a new UIDVALIDITY is then kept in memory, for all that this session does."""
        path = self._place.path
        rows: dict[bytes, int] = {}
        uidvalidity, uidnext = 0, 1
        if found is not None and found.uidvalidity:
            uidvalidity, uidnext = found.uidvalidity, found.uidnext
            rows = dict(zip(found.names(), found.uids, strict=True))
        recalled = self._place.index.recall(gone=False) or self._remembered()
        if recalled is not None and uidvalidity in (0, recalled[0]):
            uidvalidity, uidnext = recalled[0], max(uidnext, recalled[1])
            used = set(rows.values())
            rows.update((name, uid) for name, uid in recalled[2].items()
                        if name not in rows and uid not in used)
            log.warn(f"{path}: {uiddb.NAME} is missing or damaged; {len(rows)} numbers restored")
            metrics.count(measures.REPAIRS, "restored")
        elif found is None:
            from courierpy.maildir.formats import dovecot  # only where there is no uiddb
            taken = None
            if os.path.lexists(os.path.join(path, dovecot.UIDLIST)):
                there = directory.by_base(self._place.files())
                taken = dovecot.takeover(path, there)
            if taken is not None:
                uidlist, words = taken
                uidvalidity, uidnext, rows = uidlist.uidvalidity, uidlist.uidnext, uidlist.names
                if record:
                    self._uidvalidities.remember(uidvalidity)
                if self._place.options.keywords and record:
                    self._keywords.replace(words, there)
        elif found is not None:
            log.warn(f"{path}: {uiddb.NAME} is damaged; {len(rows)} numbers are left")
            metrics.count(measures.REPAIRS, "lost")
        head = self._place.index.head() if not uidvalidity else None
        last = head.uidvalidity if head is not None else 0
        uidvalidity = self._uidvalidities.of(path, uidvalidity, last, record, self._held)
        unique = {uid: name for name, uid in rows.items() if uid not in self.told_gone}
        return UidDb.of(uidvalidity, uidnext, sorted(unique.items()))

    def _held(self) -> int:
        """A hash of the messages that are there, whatever their flags.  Raises a store error."""
        return hash(frozenset(self._place.bases()))

    def _remembered(self) -> tuple[int, int, dict[bytes, int]] | None:
        """As Index.recall, from what we know ourselves."""
        database = self._contents.held.database
        if not self._contents.known or database.body is None:
            return None
        return database.uidvalidity, database.uidnext, dict(zip(database.names(), database.uids, strict=True))

    def write(self, database: UidDb, gone: UidSet = NO_UIDS) -> None:
        """Under the lock.  ``gone``: UIDs that it has no more, beside those that we know as departed."""
        place, options = self._place, self._place.options
        if database.body is None:
            database = self.named().database
        if options.kept_numbers is not None:
            options.kept_numbers.write(place.uiddb, place.tmp, database)
        elif not _put_behind(self, place, database, (self._file, self._contents.held.database)):
            head, *lines = database.pieces()
            replace(place.uiddb, head, place.tmp, options.host, "imapuid_0", sync=options.sync, more=lines)
            database.key = uiddb.stamp(place.path)
        if options.sync_all:
            sync_directory(place.path)
        place.index.remember(database, {*self._contents.departed, *self.told_gone, *gone})
        self.key, self._file = _trusted(database.key), database
        self.unwritten = self.owed = False
        self.told_gone = NO_UIDS

    def named(self) -> Held:
        """What is held, with its names; so far it may be what the index says."""
        held = self._contents.held
        mine = held.database
        if mine.body is not None:
            return held
        if mine.fill(self._place.uiddb):
            return held
        found = self._place.numbers()
        # another file since: the names of the messages that it still has, and of those that
        # others took from it
        names: dict[int, bytes] = {}
        recalled = self._place.index.recall()
        if recalled is not None and recalled[0] == mine.uidvalidity:
            names.update((uid, name) for name, uid in recalled[2].items())
        if found is not None and found.uidvalidity == mine.uidvalidity:
            names.update(zip(found.uids, found.names(), strict=True))
        if any(uid not in names for uid in mine.uids):
            self._changes.doubt()
        mine.give(names.get(uid, b"?%d" % uid) for uid in mine.uids)
        self.key = None
        return held


def _put_behind(numbers: Numbers, place: MailboxDirectory, database: UidDb,
                known: Iterable[UidDb | None]) -> bool:
    """Write this by putting lines behind those that are there, if one of the ``known`` is what the uiddb
    says; False where it has to be written anew."""
    for before in known:
        if before is not None and before.body is not None and before.key == numbers.key is not None:
            from courierpy.maildir.keptnumbers import put_behind  # many sessions number nothing
            return put_behind(place.uiddb, before, database, place.options.sync)
    return False
